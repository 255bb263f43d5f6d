use strait_proto::v1::{ConfirmWarningsRequest, PrecheckItem, PrecheckOutcome};
use tonic::Code;

use super::*;

fn warning(name: &str, cause: &str) -> PrecheckItem {
    let outcome = PrecheckOutcome::Warning.into();
    PrecheckItem { name: name.into(), outcome, cause: cause.into(), ..PrecheckItem::default() }
}

fn confirmed(task: &Task) -> Vec<&str> {
    task.precheck.iter().filter(|item| item.confirmed).map(|item| item.name.as_str()).collect()
}

impl Coordinator {
    async fn confirm(&self, task: &str, items: &[&str]) -> Result<Task, Status> {
        let items = items.iter().map(|name| (*name).to_owned()).collect();
        let request = ConfirmWarningsRequest { task: task.into(), items };
        Ok(within(self.tasks.clone().confirm_warnings(request)).await?.into_inner().task.unwrap())
    }

    async fn start_confirmed(&self, task: &str) -> Result<Task, Status> {
        let request = StartTaskRequest { task: task.into(), confirmed: true, ..StartTaskRequest::default() };
        Ok(within(self.tasks.clone().start_task(request)).await?.into_inner().task.unwrap())
    }
}

#[tokio::test]
async fn a_start_may_ask_for_every_warning_to_be_confirmed() {
    let coordinator = Coordinator::start().await;
    let (mut source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let status = coordinator.start_confirmed(&task_id).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "the task is not prechecked yet")
    );

    let mut check = async |cause: &str| {
        let answers = async {
            source.answer_precheck(vec![warning("source.slots_free", cause)]).await;
            sink.answer_precheck(vec![warning("destination.encoding", "LATIN1")]).await;
        };
        tokio::join!(coordinator.precheck(&task_id), answers).0.unwrap()
    };
    assert_eq!(check("few").await.state(), TaskState::Ready);
    let status = coordinator.start_confirmed(&task_id).await.unwrap_err();
    assert_eq!(status.message(), "warnings are not confirmed: source.slots_free, destination.encoding");
    let status = coordinator.confirm(&task_id, &["source.slots_free", "source.agent"]).await.unwrap_err();
    assert_eq!(status.message(), "items: are no warnings of the last precheck: source.agent");
    assert_eq!(confirmed(&coordinator.confirm(&task_id, &["source.slots_free"]).await.unwrap()).len(), 1);
    let all = coordinator.confirm(&task_id, &[]).await.unwrap();
    assert_eq!(confirmed(&all), ["source.slots_free", "destination.encoding"]);
    let line = "warnings confirmed: destination.encoding".to_owned();
    assert!(coordinator.events(&task_id).await.contains(&line));

    // What was confirmed is not asked again, unless it has become something else.
    assert_eq!(confirmed(&check("few").await).len(), 2);
    assert_eq!(confirmed(&check("even fewer").await), ["destination.encoding"]);
    coordinator.confirm(&task_id, &[]).await.unwrap();
    let coordinator = coordinator.restart().await;
    assert_eq!(confirmed(&coordinator.task(&task_id).await).len(), 2);
    let (_source, _sink) = (coordinator.source().await, coordinator.sink().await);
    assert!(coordinator.start_confirmed(&task_id).await.is_ok());
}

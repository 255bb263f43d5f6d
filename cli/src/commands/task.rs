//! `strait task …`.

use std::path::Path;

use strait_proto::v1;

use super::follow::{self, Until};
use super::read_document;
use crate::args::{Filter, OneTask, Remote, TaskCommand};
use crate::client::Coordinator;
use crate::document::Form;
use crate::error::Error;
use crate::output::{self, OutputFormat};
use crate::view::{CreateRequestView, DryRunView, ObjectView, PlanView, PrecheckView, SpecView, TaskView};

/// Carries a `strait task` command out.
pub(crate) async fn task(command: TaskCommand) -> Result<(), Error> {
    match command {
        TaskCommand::Create { file, client_token, dry_run: false, remote } => {
            create(&file, client_token, &remote).await
        }
        TaskCommand::Create { file, client_token, dry_run: true, remote } => {
            dry_run(&file, client_token, &remote).await
        }
        TaskCommand::List { filter, remote } => list(filter, &remote).await,
        TaskCommand::Show(task) => show(&task).await,
        TaskCommand::Precheck { task, confirm, confirm_all } => {
            let confirmed = (confirm_all || !confirm.is_empty()).then_some(confirm);
            precheck(&task, confirmed).await
        }
        TaskCommand::Start { once, wait, confirmed, task } => start(&task, once, wait, confirmed).await,
        TaskCommand::Pause(task) => {
            let paused = connect(&task).await?.pause(&task.task).await?;
            print_changed(task.remote.output, &paused)
        }
        TaskCommand::Resume(task) => {
            let resumed = connect(&task).await?.resume(&task.task).await?;
            print_changed(task.remote.output, &resumed)
        }
        TaskCommand::RetryObjects(task) => retry_objects(&task).await,
        TaskCommand::Update { task, file } => update(&task, &file).await,
        TaskCommand::Watch(task) => follow::watch(&connect(&task).await?, &task).await,
        TaskCommand::Events { follow: false, task } => {
            follow::list_events(&connect(&task).await?, &task).await
        }
        TaskCommand::Events { follow: true, task } => {
            follow::follow_events(&connect(&task).await?, &task).await
        }
        TaskCommand::Release { wait, task } => release(&task, wait).await,
        TaskCommand::Check { file, output } => check(&file, output),
    }
}

async fn connect(task: &OneTask) -> Result<Coordinator, Error> {
    Coordinator::connect(&task.remote).await
}

async fn create(file: &Path, client_token: String, remote: &Remote) -> Result<(), Error> {
    let spec = read_document(file, Form::Task)?;
    let request = v1::CreateTaskRequest { spec: Some(spec), client_token, ..Default::default() };
    let task = Coordinator::connect(remote).await?.create(request).await?;
    print_changed(remote.output, &task)
}

/// The request is checked as it would be; what it would do is told where both agents are there to say so.
async fn dry_run(file: &Path, client_token: String, remote: &Remote) -> Result<(), Error> {
    let spec = read_document(file, Form::Task)?;
    let request = v1::CreateTaskRequest {
        spec: Some(spec.clone()),
        client_token,
        task_id: String::new(),
        validate_only: true,
    };
    let view = CreateRequestView::from(&request);
    let coordinator = Coordinator::connect(remote).await?;
    let task = coordinator.create(request).await?;
    let (plan, without_plan) = match coordinator.plan(spec).await {
        Ok(plan) => (Some(PlanView::from(plan)), None),
        Err(Error::Refused(status)) => (None, Some(status.message().to_owned())),
        Err(error) => return Err(error),
    };
    let dry_run = DryRunView { request: view, task: TaskView::from(&task), plan, without_plan };
    output::print(remote.output, &dry_run, output::dry_run)
}

async fn update(task: &OneTask, file: &Path) -> Result<(), Error> {
    let spec = read_document(file, Form::Task)?;
    let updated = connect(task).await?.update(&task.task, spec).await?;
    print_changed(task.remote.output, &updated)
}

async fn retry_objects(task: &OneTask) -> Result<(), Error> {
    let results = connect(task).await?.retry_objects(&task.task).await?;
    let views: Vec<ObjectView> = results.iter().map(ObjectView::from).collect();
    output::print(task.remote.output, &views, |views| output::objects(views))?;
    let failed = views.iter().filter(|view| view.outcome == "failed").count();
    if failed > 0 { Err(Error::ObjectsFailed(failed)) } else { Ok(()) }
}

async fn list(filter: Filter, remote: &Remote) -> Result<(), Error> {
    let tasks = Coordinator::connect(remote).await?.list(filter.into()).await?;
    let views: Vec<TaskView> = tasks.iter().map(TaskView::from).collect();
    output::print(remote.output, &views, |views| output::tasks(views))
}

async fn show(task: &OneTask) -> Result<(), Error> {
    let found = connect(task).await?.get(&task.task).await?;
    output::print(task.remote.output, &TaskView::from(&found), output::task)
}

/// Checks, or confirms warnings of the last check: those that are named, or all.
async fn precheck(task: &OneTask, confirmed: Option<Vec<String>>) -> Result<(), Error> {
    let coordinator = connect(task).await?;
    let checked = match confirmed {
        Some(items) => coordinator.confirm(&task.task, items).await?,
        None => coordinator.precheck(&task.task).await?,
    };
    let view = PrecheckView::of(&checked.precheck).ok_or(Error::Answer("a precheck"))?;
    output::print(task.remote.output, &view, output::precheck)?;
    // A paused or failed task keeps its state, whatever its precheck says.
    if view.failed > 0 { Err(Error::precheck_failed(&checked, true)) } else { Ok(()) }
}

async fn start(task: &OneTask, once: bool, wait: bool, confirmed: bool) -> Result<(), Error> {
    let coordinator = connect(task).await?;
    let started = coordinator.start(&task.task, once, confirmed).await?;
    if !wait {
        print_changed(task.remote.output, &started)?;
        return startable(&started, false);
    }
    let until = if once { Until::Finished } else { Until::Incremental };
    let reached = follow::wait(&coordinator, &started, until).await?;
    print_changed(task.remote.output, &reached)
}

async fn release(task: &OneTask, wait: bool) -> Result<(), Error> {
    let coordinator = connect(task).await?;
    let mut released = coordinator.release(&task.task).await?;
    if wait {
        released = follow::wait(&coordinator, &released, Until::Released).await?;
    }
    print_changed(task.remote.output, &released)
}

fn check(file: &Path, format: OutputFormat) -> Result<(), Error> {
    let spec = read_document(file, Form::Any)?;
    output::print(format, &SpecView::from(&spec), |_| {
        let purpose = if spec.source.is_some() { "strait task create" } else { "strait sync --task" };
        format!("{} is a valid file for `{purpose}`", file.display())
    })
}

fn print_changed(format: OutputFormat, task: &v1::Task) -> Result<(), Error> {
    output::print(format, &TaskView::from(task), output::task_line)
}

/// An error where the precheck keeps the task from starting. `told` where its items were printed already.
pub(super) fn startable(task: &v1::Task, told: bool) -> Result<(), Error> {
    if task.state() == v1::TaskState::PrecheckFailed {
        Err(Error::precheck_failed(task, told))
    } else {
        Ok(())
    }
}

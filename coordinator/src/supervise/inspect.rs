//! What stands at the endpoints: whether they answer, the slots of tasks there, and what belongs to no task any more.
//!
//! Nothing is ever removed here that nobody asked to be: an orphan of this coordinator may be another one's task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strait_proto::TaskId;
use strait_proto::v1::{
    self, EndpointReference, EndpointStatus, SlotInfo, TaskSpec, command, command_result,
};
use tokio::task::JoinSet;

use super::Supervisor;
use super::ask::ask_in;
use super::work::wrong_answer;
use crate::error::RequestError;
use crate::registry::AgentKey;
use crate::task::failure::not_connected;
use crate::task::{Side, State, TaskRecord};

/// How long an endpoint may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// One database that an agent offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    side: Side,
    agent: String,
    endpoint: String,
    /// Empty: the one that the endpoint's URI names.
    database: String,
}

impl Supervisor {
    /// Asks every endpoint that the agents offer, or those of one agent or one name, how it is and what of ours stands there.
    pub(crate) async fn check_endpoints(&self, agent: &str, endpoint: &str) -> Vec<EndpointStatus> {
        let is_wanted = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let mut places = BTreeSet::new();
        for info in self.registry.list() {
            let Some(side) = Side::from_role(info.role()) else { continue };
            for offered in info.endpoints {
                if is_wanted(agent, &info.agent) && is_wanted(endpoint, &offered.name) {
                    let (agent, endpoint) = (info.agent.clone(), offered.name);
                    places.insert(Place { side, agent, endpoint, database: String::new() });
                }
            }
        }
        // Tasks may use other databases of an endpoint than the one that it names.
        for view in self.views() {
            for side in Side::BOTH {
                if let Some(place) = place_of(&view.record, side)
                    && is_wanted(agent, &place.agent)
                    && is_wanted(endpoint, &place.endpoint)
                {
                    places.insert(place);
                }
            }
        }
        let known = self.known_tasks();
        let answers = self.inspect(places).await;
        answers.into_iter().map(|(place, answer)| status(place, answer, &known)).collect()
    }

    /// The slots of the tasks that have one, as far as their servers answer.
    pub(crate) async fn slots_of_tasks(&self) -> BTreeMap<TaskId, SlotInfo> {
        let views = self.views();
        let records = views
            .iter()
            .map(|view| &view.record)
            .filter(|record| record.assigned && record.state != State::Released);
        let places = records.filter_map(|record| place_of(record, Side::Source)).collect();
        let mut slots = BTreeMap::new();
        for (_, answer) in self.inspect(places).await {
            for slot in answer.map(|answer| answer.slots).unwrap_or_default() {
                // The task's own: those of joining tables and of a catch-up have longer names.
                if let Ok(task_id) = slot.task_id.parse()
                    && slot.name.ends_with(&slot.task_id)
                {
                    slots.insert(task_id, slot);
                }
            }
        }
        slots
    }

    /// Removes what a task that this coordinator does not know has left at one endpoint.
    ///
    /// # Errors
    /// When there is such a task, or the agent could not remove it.
    pub(crate) async fn remove_orphan(
        &self,
        request: &v1::RemoveOrphanRequest,
    ) -> Result<Vec<String>, RequestError> {
        let side =
            Side::from_role(request.role()).ok_or_else(|| RequestError::invalid("role", "is required"))?;
        let task_id: TaskId =
            request.task_id.parse().map_err(|error| RequestError::invalid("task_id", format!("{error}")))?;
        // Nobody makes a task of this id meanwhile.
        let _creating = self.creating.lock().await;
        if self.known_tasks().contains(&task_id) {
            let message = format!("{task_id} is a task: `strait task release {task_id}` removes it");
            return Err(RequestError::invalid("task_id", message));
        }
        let reference = EndpointReference {
            agent: request.agent.clone(),
            endpoint: request.endpoint.clone(),
            database: request.database.clone(),
        };
        let spec = match side {
            Side::Source => TaskSpec { source: Some(reference), ..TaskSpec::default() },
            Side::Sink => TaskSpec { destination: Some(reference), ..TaskSpec::default() },
        };
        let request_id = format!("orphan-{task_id}");
        let command =
            command::Command::Release(v1::ReleaseCommand { task_id: task_id.to_string(), spec: Some(spec) });
        let answer =
            self.ask_agent(side, &request.agent, &request_id, command, self.timings.command_wait).await;
        match answer.map_err(RequestError::Agent)? {
            command_result::Result::Release(released) => {
                tracing::info!(task = %task_id, agent = request.agent, actions = released.actions.join("; "), "removed an orphan");
                Ok(released.actions)
            }
            _ => Err(RequestError::Agent(wrong_answer(side))),
        }
    }

    async fn inspect(&self, places: BTreeSet<Place>) -> Vec<(Place, Result<v1::InspectResult, v1::Failure>)> {
        let mut asking = JoinSet::new();
        for place in places {
            let sessions = self.registry.follow(&AgentKey { side: place.side, name: place.agent.clone() });
            asking.spawn(async move {
                let session = sessions.borrow().clone().filter(|session| !session.is_ended());
                let Some(session) = session else {
                    let failure = not_connected(place.side, &place.agent);
                    return (place, Err(failure));
                };
                let request_id = format!("inspect-{:016x}", rand::random::<u64>());
                let command = command::Command::Inspect(v1::InspectCommand {
                    endpoint: place.endpoint.clone(),
                    database: place.database.clone(),
                });
                let answer =
                    ask_in(&session, (place.side, &place.agent), &request_id, command, ANSWER_WAIT).await;
                let answer = match answer {
                    Ok(command_result::Result::Inspect(found)) => Ok(found),
                    Ok(_) => Err(wrong_answer(place.side)),
                    Err(failure) => Err(failure),
                };
                (place, answer)
            });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by(|(left, _), (right, _)| left.cmp(right));
        answers
    }

    fn known_tasks(&self) -> BTreeSet<TaskId> {
        let views = self.views().into_iter();
        let known = views.filter(|view| view.record.state != State::Released);
        known.map(|view| view.record.task_id.clone()).collect()
    }
}

fn place_of(record: &TaskRecord, side: Side) -> Option<Place> {
    let EndpointReference { agent, endpoint, database } = record.endpoint(side)?.clone();
    Some(Place { side, agent, endpoint, database })
}

fn status(
    place: Place,
    answer: Result<v1::InspectResult, v1::Failure>,
    known: &BTreeSet<TaskId>,
) -> EndpointStatus {
    let Place { side, agent, endpoint, database } = place;
    let (found, failure) = match answer {
        Ok(found) => (found, None),
        Err(failure) => (v1::InspectResult::default(), Some(failure)),
    };
    let is_orphan = |task_id: &str| !task_id.parse().is_ok_and(|task_id: TaskId| known.contains(&task_id));
    let v1::InspectResult { server, database: found_database, slots, mut leftovers } = found;
    leftovers.retain(|leftover| is_orphan(&leftover.task_id));
    let database = if found_database.is_empty() { database } else { found_database };
    EndpointStatus {
        agent,
        role: side.role().into(),
        endpoint,
        database,
        server,
        failure,
        slots,
        orphans: leftovers,
    }
}

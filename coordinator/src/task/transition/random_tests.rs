//! Every order of events, with a coordinator that crashes between any two steps of any of them.
//!
//! The world is what the actor has around it: a store, two agents that work on under the assignment they have, whatever becomes
//! of the coordinator, and work that is under way. At every moment nothing runs that is not stored and everything has a visible
//! reason; in the end, where all agents are there and everything works, no task is stuck, lost or run twice.

use proptest::prelude::*;
use strait_proto::v1::FailureKind;

use super::*;
use crate::task::spec::Effect;
use crate::task::{Presence, Windows, absence, due};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(Operation),
    Connect(Side),
    Disconnect(Side),
    /// A new process, which knows nothing.
    RestartAgent(Side),
    TimePasses(Side),
    Report(Side, Said),
    /// The work that is under way for longest ends.
    WorkEnds {
        well: bool,
    },
    WindowCloses,
    /// The coordinator dies at this point of whatever comes next.
    CrashAt(Point),
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Phase(Phase),
    Interrupted,
    Failed,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    BeforeTheStore,
    AfterTheStore,
    WithinTheCommands,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Precheck,
    Stop,
    Release(Side),
}

#[derive(Clone, Debug, Default)]
struct Agent {
    connected: bool,
    overdue: bool,
    /// What it really works on.
    runs: Option<u64>,
    /// What the coordinator takes it to work on.
    holds: Option<u64>,
}

struct World {
    state: State,
    epoch: u64,
    assigned: bool,
    agents: [Agent; 2],
    work: Vec<Work>,
    now_us: i64,
    window_closes: bool,
    crash_at: Option<Point>,
    release_stored: bool,
}

impl World {
    fn new() -> Self {
        Self {
            state: State::Created,
            epoch: 0,
            assigned: false,
            agents: [Agent::default(), Agent::default()],
            work: vec![],
            now_us: 0,
            window_closes: false,
            crash_at: None,
            release_stored: false,
        }
    }

    fn agent(&mut self, side: Side) -> &mut Agent {
        &mut self.agents[side as usize]
    }

    fn presences(&self) -> [Presence<'static>; 2] {
        Side::BOTH.map(|side| {
            let agent = &self.agents[side as usize];
            Presence {
                side,
                agent: "a",
                is_connected: agent.connected,
                is_overdue: agent.overdue && !agent.connected,
                is_at_work: agent.holds == Some(self.epoch),
            }
        })
    }

    fn step(&mut self, step: Step) {
        self.now_us += 1;
        match step {
            Step::Ask(operation) => self.apply(&Event::Asked(operation)),
            Step::Connect(side) => self.connect(side),
            Step::Disconnect(side) => self.disconnect(side),
            Step::RestartAgent(side) => {
                self.disconnect(side);
                self.agent(side).runs = None;
            }
            Step::TimePasses(side) => self.agent(side).overdue = true,
            Step::Report(side, said) => self.report(side, said),
            Step::WorkEnds { well } => self.work_ends(well),
            Step::WindowCloses => self.window_closes = true,
            Step::CrashAt(point) => self.crash_at = Some(point),
        }
        self.reconcile();
        self.window_closes = false;
        self.check();
    }

    fn connect(&mut self, side: Side) {
        let agent = self.agent(side);
        if !agent.connected {
            *agent = Agent { connected: true, overdue: false, runs: agent.runs, holds: agent.runs };
        }
    }

    fn disconnect(&mut self, side: Side) {
        let agent = self.agent(side);
        (agent.connected, agent.holds) = (false, None);
    }

    /// Only what is said under the current epoch counts.
    fn report(&mut self, side: Side, said: Said) {
        let (connected, runs) = (self.agent(side).connected, self.agent(side).runs);
        let is_current = connected && runs == Some(self.epoch);
        let event = match said {
            Said::Phase(phase) => Event::PhaseReached { side, phase },
            Said::Interrupted => {
                Event::Interrupted { failure: failure(false, "broken"), attempt: 1, next_attempt_us: 0 }
            }
            Said::Failed => Event::AgentFailed { failure: failure(true, "hopeless") },
            Said::Finished => Event::AgentFinished,
        };
        if is_current {
            self.apply(&event);
        }
    }

    fn work_ends(&mut self, well: bool) {
        if self.work.is_empty() {
            return;
        }
        match self.work.remove(0) {
            Work::Precheck => self.apply(&Event::Prechecked { passed: well }),
            Work::Stop => {
                for side in Side::BOTH {
                    self.halt(side);
                }
                self.apply(&Event::Stopped);
            }
            Work::Release(side) if well && self.agent(side).connected => {
                self.halt(side);
                self.apply(&Event::SideReleased { side });
            }
            Work::Release(side) => {
                self.apply(&Event::ReleaseBlocked { side, failure: failure(false, "in use") });
                self.begin_release(side);
            }
        }
    }

    fn halt(&mut self, side: Side) {
        let agent = self.agent(side);
        if agent.connected {
            (agent.runs, agent.holds) = (None, None);
        }
    }

    fn begin_release(&mut self, side: Side) {
        let reached = match (&self.state, side) {
            (State::Releasing { source, .. }, Side::Source) => source,
            (State::Releasing { sink, .. }, Side::Sink) => sink,
            _ => return,
        };
        if *reached != SideRelease::Done && !self.work.contains(&Work::Release(side)) {
            self.work.push(Work::Release(side));
        }
    }

    /// As the actor does it: decide, store, then carry out.
    fn apply(&mut self, event: &Event) {
        let windows = Windows { connection_us: 1000, other_us: 100 };
        let away = absence(&self.presences(), |agent| !agent.is_connected, false);
        let context = Context { now_us: self.now_us, windows, absence: away, assigned: self.assigned };
        let Ok(Outcome { state, commands }) = transition(&self.state, event, &context) else { return };
        let crash_at = self.crash_at.take();
        if crash_at == Some(Point::BeforeTheStore) {
            return self.crash();
        }
        if commands.contains(&Command::Assign) {
            let held = self.agents.iter().filter_map(|agent| agent.holds).max().unwrap_or(0);
            self.epoch = self.epoch.max(held) + 1;
            self.assigned = true;
        }
        self.release_stored |= matches!(state, State::Releasing { .. } | State::Released);
        self.state = state;
        if crash_at == Some(Point::AfterTheStore) {
            return self.crash();
        }
        for command in commands {
            if !self.carry_out(command, crash_at == Some(Point::WithinTheCommands)) {
                return self.crash();
            }
        }
    }

    /// False: the coordinator died halfway.
    fn carry_out(&mut self, command: Command, dies: bool) -> bool {
        match command {
            Command::Precheck => self.work.push(Work::Precheck),
            Command::Stop => self.work.push(Work::Stop),
            Command::Release => Side::BOTH.into_iter().for_each(|side| self.begin_release(side)),
            Command::Revoke => self.revoke(),
            Command::Assign if self.agents.iter().all(|agent| agent.connected) => {
                let epoch = self.epoch;
                for side in [Side::Sink, Side::Source] {
                    let agent = self.agent(side);
                    agent.runs = agent.runs.max(Some(epoch));
                    agent.holds = Some(epoch);
                    if dies {
                        return false;
                    }
                }
            }
            Command::Assign => self.revoke(),
        }
        !dies
    }

    fn revoke(&mut self) {
        for side in Side::BOTH {
            if self.agent(side).holds.is_some() {
                self.halt(side);
            }
        }
    }

    /// Everything but the store and the agents is gone.
    fn crash(&mut self) {
        self.work.clear();
        for side in Side::BOTH {
            self.disconnect(side);
            self.agent(side).overdue = false;
        }
        self.apply(&Event::Restored);
    }

    fn reconcile(&mut self) {
        for _ in 0..10 {
            let Some(event) = due(&self.state, &self.presences(), self.window_closes) else {
                if !matches!(self.state, State::Pausing { .. } | State::Releasing { .. })
                    && !self.state.wants_agents()
                {
                    self.revoke();
                }
                return;
            };
            self.apply(&event);
        }
        panic!("no end of events: {:?}", self.state);
    }

    fn check(&self) {
        for agent in &self.agents {
            assert!(
                agent.runs.unwrap_or(0) <= self.epoch,
                "an assignment went out before it was stored: {agent:?}"
            );
            assert!(agent.holds.is_none() || agent.connected);
        }
        if let State::Retrying(_) | State::Failed { .. } = self.state {
            let reason = self.state.failure().map(|failure| (failure.cause.clone(), failure.remedy.clone()));
            assert!(
                reason.is_some_and(|(cause, remedy)| !cause.is_empty() && !remedy.is_empty()),
                "{:?}",
                self.state
            );
        }
        if let State::Failed { failure, .. } = &self.state {
            assert_eq!(failure.definite, failure.cause.contains("hopeless"), "{failure:?}");
        }
        if self.release_stored {
            assert!(matches!(self.state, State::Releasing { .. } | State::Released), "{:?}", self.state);
        }
    }

    /// All agents are there and everything works: the task has to come to where it is wanted.
    fn settle(&mut self) {
        self.crash_at = None;
        for side in Side::BOTH {
            self.step(Step::Connect(side));
        }
        for _ in 0..20 {
            self.step(Step::WorkEnds { well: true });
            for side in Side::BOTH {
                self.step(Step::Report(side, Said::Phase(Phase::Incremental)));
            }
        }
        let runs = [self.agents[0].runs, self.agents[1].runs];
        match &self.state {
            State::Running { .. } => assert_eq!(runs, [Some(self.epoch); 2], "not run, or not by both"),
            State::Created
            | State::Ready
            | State::PrecheckFailed
            | State::Paused { .. }
            | State::Finished
            | State::Failed { .. }
            | State::Released => assert_eq!(runs, [None; 2], "run although it is {:?}", self.state),
            stuck => panic!("stuck: {stuck:?}"),
        }
        assert!(self.work.is_empty(), "{:?}", self.work);
    }
}

fn failure(definite: bool, cause: &str) -> v1::Failure {
    v1::Failure { kind: FailureKind::Other.into(), definite, cause: cause.into(), remedy: "mend".into() }
}

fn steps() -> impl Strategy<Value = Step> {
    use Operation::{Pause, Precheck, Release, Resume, Start, Update};
    let side = || prop_oneof![Just(Side::Source), Just(Side::Sink)];
    let operation = prop_oneof![
        2 => Just(Precheck),
        6 => Just(Start),
        4 => Just(Pause),
        4 => Just(Resume),
        1 => Just(Release),
        1 => Just(Update(Effect::Live)),
        1 => Just(Update(Effect::Reassign)),
        1 => Just(Update(Effect::Afresh)),
    ];
    let said = prop_oneof![
        2 => Just(Said::Phase(Phase::FullSync)),
        4 => Just(Said::Phase(Phase::Incremental)),
        2 => Just(Said::Interrupted),
        1 => Just(Said::Failed),
        1 => Just(Said::Finished),
    ];
    let point =
        prop_oneof![Just(Point::BeforeTheStore), Just(Point::AfterTheStore), Just(Point::WithinTheCommands)];
    prop_oneof![
        6 => operation.prop_map(Step::Ask),
        6 => side().prop_map(Step::Connect),
        2 => side().prop_map(Step::Disconnect),
        2 => side().prop_map(Step::RestartAgent),
        2 => side().prop_map(Step::TimePasses),
        5 => (side(), said).prop_map(|(side, said)| Step::Report(side, said)),
        6 => any::<bool>().prop_map(|well| Step::WorkEnds { well }),
        1 => Just(Step::WindowCloses),
        3 => point.prop_map(Step::CrashAt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_and_crashes_loses_a_task_or_runs_it_twice(steps in proptest::collection::vec(steps(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}

//! What an actor does once the new state is stored.

use strait_proto::v1;
use strait_proto::v1::coordinator_message::Message as ToAgent;

use super::Actor;
use crate::supervise::contact::Contact;
use crate::supervise::token;
use crate::supervise::work::{self, Begin, Errand};
use crate::task::{Command, Side, SideRelease, State};

impl Actor {
    pub(super) fn carry_out(&mut self, command: Command) {
        let timings = self.supervisor.timings;
        let errand = |contact: &Contact| Errand::new(&self.record, contact, timings);
        match command {
            Command::Precheck => {
                self.is_prechecking = true;
                self.work.spawn(work::precheck(errand(&self.source), errand(&self.sink)));
            }
            Command::Assign => self.assign(),
            Command::Revoke => self.revoke(),
            Command::Stop => {
                self.work.spawn(work::stop(errand(&self.source), errand(&self.sink)));
            }
            Command::Release => {
                for side in Side::BOTH {
                    self.release(side, Begin::Now);
                }
            }
        }
    }

    /// The sink-agent first: it refuses the source-agent's calls until it knows the token.
    fn assign(&mut self) {
        if !(self.source.is_connected() && self.sink.is_connected()) {
            // Whoever works under an earlier epoch stops; both are assigned once both are there.
            return self.revoke();
        }
        let epoch = self.record.epoch;
        let data_address = self.sink.session().map(|session| session.hello().data_address.clone());
        // Whichever side can reach the other does.
        let source_address = self.source.session().map(|session| session.hello().data_address.clone());
        let to_sink = v1::Assign {
            data_address: source_address.unwrap_or_default(),
            task_id: self.record.task_id.to_string(),
            epoch: epoch.0,
            spec: Some(self.record.spec.clone()),
            token: token::generate(),
            ..v1::Assign::default()
        };
        let data_address = data_address.unwrap_or_default();
        let to_source = v1::Assign { data_address, once: self.record.once, ..to_sink.clone() };
        self.sink.assign(epoch, ToAgent::Assign(to_sink));
        self.source.assign(epoch, ToAgent::Assign(to_source));
    }

    /// Tells the source-agent what was changed of the task while it works on it. The sink-agent has no part in that.
    pub(super) fn adjust(&mut self) {
        let record = &self.record;
        self.source.adjust(record.epoch, || {
            ToAgent::Adjust(v1::Adjust {
                task_id: record.task_id.to_string(),
                epoch: record.epoch.0,
                throttle: record.spec.throttle,
            })
        });
    }

    pub(super) fn revoke(&mut self) {
        self.source.revoke(self.record.epoch);
        self.sink.revoke(self.record.epoch);
    }

    /// Starts the next attempt on one side, unless that is done or not wanted.
    pub(super) fn release(&mut self, side: Side, begin: Begin) {
        let (reached, contact) = match (&self.record.state, side) {
            (State::Releasing { source, .. }, Side::Source) => (source, &self.source),
            (State::Releasing { sink, .. }, Side::Sink) => (sink, &self.sink),
            _ => return,
        };
        if *reached != SideRelease::Done {
            let errand = Errand::new(&self.record, contact, self.supervisor.timings);
            self.work.spawn(work::release(errand, begin));
        }
    }
}

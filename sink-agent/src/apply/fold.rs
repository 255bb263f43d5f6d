//! Folding: of all changes of a row within a batch only their net effect is executed.
//!
//! ```text
//!   changes in commit order ──► per key: insert / update / delete / replace / make sure it is absent
//!
//!   stage 0   net effects      deletes, then updates, then inserts; each key at most once
//!   stage 1   moves            key changes, with disjoint keys; executed as updates
//!   stage 2   net effects      of keys that moved before
//!   …
//! ```
//!
//! A change goes into the earliest stage that keeps the order of its own key; different keys are different
//! rows, so that their order does not matter for the result. It may matter to a second unique index half-way:
//! the server then refuses the statement, and the batch is replayed in order.
//!
//! Keys are compared by their bytes. Two texts of one value (1.0 and 1.00) are two keys here, and that is
//! exact: a unique index lets at most one of them live at a time, whoever leaves is deleted, and deletes come
//! first.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::change::{Change, ChangeKind};
use super::relation::{Key, Relation};
use super::tuple::Tuple;
use crate::error::Error;

/// So many stages of one table are executed in sets. A table whose keys move in chains is replayed in order
/// instead.
const STAGES_MAX: usize = 32;

/// A state of a row, as the relation that sent it lays it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) relation: Arc<Relation>,
    pub(crate) tuple: Tuple,
}

/// What is to be executed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Net(NetEffects),
    /// Each from the row that the first image names to the state of the second.
    Moves(Vec<(Image, Image)>),
}

/// To be executed in the order of the fields. A key may be in one of the first two and in the last, otherwise
/// once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetEffects {
    /// Rows that are there.
    pub(crate) deletes: Vec<Image>,
    /// Rows that came and went within the batch: only an older row of the same key could be there.
    pub(crate) absent: Vec<Image>,
    /// Rows that are there; values may be missing from the image, and stay as they are.
    pub(crate) updates: Vec<Image>,
    /// Complete rows; what is there under the same key is overwritten.
    pub(crate) inserts: Vec<Image>,
}

/// The keys move in chains too long for sets.
#[derive(Debug)]
pub(crate) struct TooManyStages;

/// Folds the changes of one table that has a key.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// For each key that was touched, its last place.
    places: HashMap<Key, Place>,
    effects: Vec<Effect>,
    moves: Vec<(usize, Image, Image)>,
}

/// Where a key was touched last.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Index into `effects`; the effect knows its stage.
    Effect(usize),
    /// Source or destination of a move of that stage.
    Move(usize),
}

#[derive(Debug)]
struct Effect {
    stage: usize,
    net: Net,
    image: Image,
}

/// What becomes of a key within one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    /// Was not there, is there.
    Insert,
    /// Was there, is there.
    Update,
    /// Was there, is gone.
    Delete,
    /// Was not there, is not there.
    Absent,
    /// Was there, is another row.
    Replace,
}

impl Fold {
    /// Takes the next change of the table in.
    ///
    /// # Errors
    /// Never for a change that was checked: its key is there.
    pub(crate) fn push(&mut self, change: &Change) -> Result<(), Error> {
        let image = |tuple: &Tuple| Image { relation: Arc::clone(&change.relation), tuple: tuple.clone() };
        match &change.kind {
            ChangeKind::Insert { new } => self.effect(Net::Insert, image(new)),
            ChangeKind::Update { old: None, new } => self.effect(Net::Update, image(new)),
            ChangeKind::Update { old: Some(old), new } => self.moved(image(old), image(new)),
            ChangeKind::Delete { old } => self.effect(Net::Delete, image(old)),
        }
    }

    /// The stages in order.
    pub(crate) fn finish(self) -> Result<Vec<Stage>, TooManyStages> {
        let last = self
            .effects
            .iter()
            .map(|effect| effect.stage)
            .chain(self.moves.iter().map(|moved| moved.0))
            .max();
        let count = last.map_or(0, |last| last + 1);
        if count > STAGES_MAX {
            return Err(TooManyStages);
        }
        let mut stages: Vec<Stage> = (0..count)
            .map(|stage| match stage % 2 {
                0 => Stage::Net(NetEffects::default()),
                _ => Stage::Moves(Vec::new()),
            })
            .collect();
        for Effect { stage, net, image } in self.effects {
            if let Stage::Net(effects) = &mut stages[stage] {
                match net {
                    Net::Insert => effects.inserts.push(image),
                    Net::Update => effects.updates.push(image),
                    Net::Delete => effects.deletes.push(image),
                    Net::Absent => effects.absent.push(image),
                    Net::Replace => {
                        effects.deletes.push(image.clone());
                        effects.inserts.push(image);
                    }
                }
            }
        }
        for (stage, old, new) in self.moves {
            if let Stage::Moves(moves) = &mut stages[stage] {
                moves.push((old, new));
            }
        }
        Ok(stages)
    }

    fn effect(&mut self, net: Net, image: Image) -> Result<(), Error> {
        let key = image.relation.key(&image.tuple)?;
        let next = self.effects.len();
        match self.places.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Place::Effect(next));
                self.effects.push(Effect { stage: 0, net, image });
            }
            Entry::Occupied(mut occupied) => {
                let stage = match *occupied.get() {
                    Place::Effect(index) => {
                        let effect = &mut self.effects[index];
                        match effect.then(net, image) {
                            Ok(()) => return Ok(()),
                            Err(image) => {
                                let stage = effect.stage + 2;
                                occupied.insert(Place::Effect(next));
                                self.effects.push(Effect { stage, net, image });
                                return Ok(());
                            }
                        }
                    }
                    Place::Move(stage) => stage + 1,
                };
                occupied.insert(Place::Effect(next));
                self.effects.push(Effect { stage, net, image });
            }
        }
        Ok(())
    }

    fn moved(&mut self, old: Image, new: Image) -> Result<(), Error> {
        let keys = [old.relation.key(&old.tuple)?, new.relation.key(&new.tuple)?];
        let after = |place: &Place| match place {
            Place::Effect(index) => self.effects[*index].stage + 1,
            Place::Move(stage) => stage + 2,
        };
        let stage = keys.iter().filter_map(|key| self.places.get(key)).map(after).max().unwrap_or(1);
        for key in keys {
            self.places.insert(key, Place::Move(stage));
        }
        self.moves.push((stage, old, new));
        Ok(())
    }
}

impl Effect {
    /// Takes in what happens to the same row next, or gives it back where that has to be seen by the server
    /// on its own: it contradicts what happened before, and may be a conflict.
    fn then(&mut self, net: Net, image: Image) -> Result<(), Image> {
        let (net, image) = match (self.net, net) {
            (Net::Insert | Net::Replace | Net::Update, Net::Update) => match self.merged(&image) {
                Some(merged) => (self.net, merged),
                None => return Err(image),
            },
            (Net::Insert, Net::Delete) => (Net::Absent, image),
            (Net::Update | Net::Replace, Net::Delete) => (Net::Delete, image),
            (Net::Insert | Net::Update | Net::Absent, Net::Insert) => (Net::Insert, image),
            (Net::Delete | Net::Replace, Net::Insert) => (Net::Replace, image),
            _ => return Err(image),
        };
        self.net = net;
        self.image = image;
        Ok(())
    }

    /// The newer image with what it lacks from this one; none where the two are laid out differently.
    fn merged(&self, newer: &Image) -> Option<Image> {
        if newer.tuple.is_complete() {
            return Some(newer.clone());
        }
        let same = Arc::ptr_eq(&self.image.relation, &newer.relation);
        same.then(|| Image {
            relation: Arc::clone(&newer.relation),
            tuple: newer.tuple.over(&self.image.tuple, |_| true),
        })
    }
}

#[cfg(test)]
mod tests;

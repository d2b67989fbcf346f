//! The members of an upstream as one worker has them: what is open to each, what is under way, and
//! which of them requests may go to now.
//!
//! A member keeps its slot as long as anything of it is left: a request under way holds the number.
//! A slot whose member has vanished gets no new requests, keeps no idle connection, and is used
//! again once it is empty.

use std::sync::Arc;

use tokio::time::Instant;

use super::balance::{Candidate, FULL, dice, hash, p2c, round_robin};
use super::lines::{Line, Lines};
use super::member::{Member, Standing};
use super::roster::Roster;
use crate::config::Balance;

/// All slots of one worker.
pub(super) struct Slots {
    all: Vec<Slot>,
    /// Where requests may go.
    ring: Vec<Candidate>,
    takes_turns: bool,
    /// The edition of the roster that this was made from.
    edition: u64,
    /// When it has to be made anew, even if the edition is the same.
    until: Option<Instant>,
    /// Members that the next requests shall try.
    trials: Vec<usize>,
    turn: usize,
    dice: u64,
}

/// The place of one member.
pub(super) struct Slot {
    member: Arc<Member>,
    is_retired: bool,
    pub(super) in_flight: usize,
    /// It refused a connection, and is left alone until then.
    pub(super) down_until: Option<Instant>,
    pub(super) lines: Lines,
}

impl Slots {
    pub(super) fn new(roster: &Roster, balance: &Balance, worker: usize, now: Instant) -> Self {
        let mut slots = Self {
            all: Vec::new(),
            ring: Vec::new(),
            takes_turns: *balance == Balance::RoundRobin,
            edition: 0,
            until: None,
            trials: Vec::new(),
            turn: worker,
            dice: worker as u64,
        };
        slots.sync(roster, now);
        slots
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Slot> {
        self.all.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.all.get_mut(slot)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter()
    }

    /// Takes up what has changed. Cost while nothing has: one load, one comparison.
    pub(super) fn sync(&mut self, roster: &Roster, now: Instant) {
        let edition = roster.edition();
        if edition != self.edition {
            self.edition = edition;
            self.take_up(&roster.members());
        } else if self.until.is_none_or(|until| now < until) {
            return;
        }
        self.form_ring(roster, now);
    }

    /// Leaves a member alone for a while.
    pub(super) fn mark_down(&mut self, slot: usize, until: Instant) {
        if let Some(slot) = self.all.get_mut(slot) {
            slot.down_until = Some(until);
        }
        self.edition = 0;
    }

    /// The member for a request, by its key if it has one.
    pub(super) fn pick(&mut self, key: Option<u64>) -> Option<usize> {
        if let Some(slot) = self.trials.pop() {
            return Some(slot);
        }
        let Self { all, ring, turn, .. } = self;
        if let Some(key) = key {
            return hash(ring, key, &[]);
        }
        if let [only] = &**ring {
            return Some(only.slot);
        }
        let random = dice(&mut self.dice);
        if self.takes_turns {
            return round_robin(ring, turn, random);
        }
        p2c(ring, |slot| all.get(slot).map_or(0, |slot| slot.in_flight), random)
    }

    /// Another member, when those `tried` were of no use.
    pub(super) fn pick_other(&mut self, tried: &[usize], key: Option<u64>) -> Option<usize> {
        let key = key.unwrap_or_else(|| dice(&mut self.dice));
        hash(&self.ring, key, tried)
    }

    fn take_up(&mut self, members: &[Arc<Member>]) {
        for slot in &mut self.all {
            slot.is_retired = !members.iter().any(|member| Arc::ptr_eq(member, &slot.member));
            if slot.is_retired {
                slot.lines.close(slot.in_flight);
            }
        }
        for member in members {
            if self.all.iter().any(|slot| Arc::ptr_eq(&slot.member, member)) {
                continue;
            }
            let slot = Slot {
                member: Arc::clone(member),
                is_retired: false,
                in_flight: 0,
                down_until: None,
                lines: Lines::default(),
            };
            match self.all.iter_mut().find(|slot| slot.is_empty()) {
                Some(empty) => *empty = slot,
                None => self.all.push(slot),
            }
        }
        while self.all.last().is_some_and(Slot::is_empty) {
            self.all.pop();
        }
    }

    /// Says where requests may go. Where that is nowhere, they may go anywhere: that all members
    /// have failed is no reason to fail without trying, since access is not decided here. A trial
    /// that no request has made by now is given up: another worker may have made it.
    fn form_ring(&mut self, roster: &Roster, now: Instant) {
        let (mut ring, mut anywhere) = (std::mem::take(&mut self.ring), Vec::new());
        let mut until: Option<Instant> = None;
        let mut look_again =
            |at: Instant| until = Some(until.map_or(at, |until: Instant| until.min(at)));
        ring.clear();
        self.trials.clear();
        for (at, slot) in self.all.iter().enumerate().filter(|(_, slot)| !slot.is_retired) {
            let candidate = |weight| Candidate { slot: at, id: slot.member.id, weight };
            let standing = match slot.down_until.filter(|until| now < *until) {
                Some(until) => Standing::Out(until),
                None => roster.standing(&slot.member, now),
            };
            match standing {
                Standing::In(weight) => {
                    if weight < FULL
                        && let Some(slow_start) = roster.starts_slowly()
                    {
                        look_again(now + slow_start / u32::from(FULL));
                    }
                    ring.push(candidate(weight));
                }
                Standing::Ill => {}
                Standing::Out(until) => look_again(until),
                Standing::Trial(until) => {
                    self.trials.push(at);
                    look_again(until);
                }
            }
            anywhere.push(candidate(FULL));
        }
        self.until = until;
        self.ring = if ring.is_empty() { anywhere } else { ring };
    }
}

impl Slot {
    pub(super) const fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Takes a connection that carries nothing.
    pub(super) fn take_idle(&mut self) -> Option<Line> {
        self.lines.take_idle(self.in_flight)
    }

    pub(super) const fn is_retired(&self) -> bool {
        self.is_retired
    }

    const fn is_empty(&self) -> bool {
        self.is_retired && self.in_flight == 0
    }
}

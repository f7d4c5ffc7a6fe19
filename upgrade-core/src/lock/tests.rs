//! Single steps as stories, and contenders in a world of delays, lost answers and crashes as a property.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const S: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Duration {
    S * seconds
}

fn wall() -> Timestamp {
    "2026-11-24T23:00:00.123456Z".parse().unwrap()
}

fn lock(name: &str) -> Lock {
    Lock::new(HolderId::new(name).unwrap(), RunId::new("night-1").unwrap(), LockTimes::default())
}

fn lease(version: u32, record: LeaseRecord) -> Lease {
    Lease { uid: Uid::new("lease-uid").unwrap(), resource_version: version.to_string(), record }
}

fn held(holder: &str) -> LeaseRecord {
    LeaseRecord {
        holder: holder.to_owned(),
        duration_seconds: 60,
        acquired_at: None,
        renewed_at: None,
        transitions: 3,
        run: None,
        stop: None,
    }
}

fn updated(action: LockAction) -> (Lease, LeaseRecord) {
    match action {
        LockAction::Update { over, record } => (over, record),
        other => panic!("not an update: {other:?}"),
    }
}

/// A lock that has taken a free Lease at 10 s.
fn holder(name: &str) -> Lock {
    let mut lock = lock(name);
    let LockAction::Create(record) = lock.on(at(10), wall(), None) else { panic!("nothing to create") };
    assert_eq!(lock.answered(at(10), at(11), Some(lease(1, record))), LockAction::Look { at: at(16) });
    lock
}

#[test]
fn a_missing_lease_is_created_and_the_time_counts_from_before_the_write() {
    let lock = holder("a");
    assert_eq!((lock.may_write(at(49)), lock.may_write(at(50))), (true, false));
    assert_eq!((lock.remaining(at(45)), lock.transitions()), (at(5), Some(0)));
}

#[test]
fn a_renewal_keeps_who_and_since_when_and_moves_the_deadline() {
    let mut lock = holder("a");
    let mut mine = held("a");
    mine.acquired_at = Some("2026-11-24T20:00:00Z".parse().unwrap());
    let (over, record) = updated(lock.on(at(16), wall(), Some(lease(1, mine.clone()))));
    assert_eq!((over.resource_version.as_str(), record.transitions), ("1", 3));
    assert_eq!((record.acquired_at, record.renewed_at), (mine.acquired_at, Some(wall())));
    let _ = lock.answered(at(16), at(17), Some(lease(2, record)));
    assert!(lock.may_write(at(55)) && !lock.may_write(at(56)));
}

/// It is read with a renewal, and the renewal leaves it there: whoever asked sees that it was read. Only giving back removes it.
#[test]
fn a_request_to_stop_is_read_kept_and_taken_away_at_the_end() {
    let mut lock = holder("a");
    let ask = |run| StopRequest { run: RunId::new(run).unwrap(), at_once: false, by: "ann".into() };
    let asked = |run| LeaseRecord { stop: Some(ask(run)), ..held("a") };
    let (_, record) = updated(lock.on(at(16), wall(), Some(lease(1, asked("another")))));
    assert_eq!((lock.asked_to_stop(), record.stop), (None, None), "not this run");
    let _ = lock.answered(at(16), at(17), None);
    let (_, record) = updated(lock.on(at(22), wall(), Some(lease(2, asked("night-1")))));
    assert_eq!((lock.asked_to_stop(), record.stop.as_ref()), (Some(&ask("night-1")), Some(&ask("night-1"))));
    let _ = lock.answered(at(22), at(23), Some(lease(3, record.clone())));
    assert_eq!(lock.asked_to_stop(), Some(&ask("night-1")));
    let _ = lock.give_back(at(24));
    let (_, record) = updated(lock.on(at(24), wall(), Some(lease(3, record))));
    assert_eq!((record.holder.as_str(), record.stop), ("", None));
}

/// What was asked of a process that died is not asked of the one that takes over: somebody has resumed the run since.
#[test]
fn a_request_to_stop_ends_with_the_holder_it_was_for() {
    let mut lock = lock("b");
    let stop = Some(StopRequest { run: RunId::new("night-1").unwrap(), at_once: false, by: String::new() });
    let asked = LeaseRecord { stop, ..held("a") };
    let _ = lock.on(at(0), wall(), Some(lease(7, asked.clone())));
    let (_, record) = updated(lock.on(at(60), wall(), Some(lease(7, asked))));
    assert_eq!((record.holder.as_str(), record.stop), ("b", None));
    assert_eq!(lock.asked_to_stop(), None);
}

#[test]
fn another_holder_is_left_alone_for_its_whole_time_since_it_was_seen_whatever_it_wrote() {
    let mut lock = lock("b");
    let mut theirs = held("a");
    theirs.renewed_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(lock.on(at(0), wall(), Some(lease(7, theirs.clone()))), LockAction::Look { at: at(5) });
    assert_eq!(lock.held_by().map(|record| record.holder.as_str()), Some("a"));
    assert_eq!(lock.on(at(57), wall(), Some(lease(7, theirs.clone()))), LockAction::Look { at: at(60) });
    // A renewal begins the time anew.
    assert_eq!(lock.on(at(59), wall(), Some(lease(8, theirs.clone()))), LockAction::Look { at: at(64) });
    assert_eq!(lock.on(at(118), wall(), Some(lease(8, theirs.clone()))), LockAction::Look { at: at(119) });
    let (over, record) = updated(lock.on(at(119), wall(), Some(lease(8, theirs))));
    assert_eq!((over.resource_version.as_str(), record.holder.as_str(), record.transitions), ("8", "b", 4));
    assert_eq!(record.run.unwrap().as_str(), "night-1");
    assert!(!lock.may_write(at(119)), "an update that was not confirmed counts for nothing");
}

/// Only a write of theirs shows that they live: a Lease that stands there may be of a process that was killed.
#[test]
fn another_holder_refuses_by_a_renewal_and_not_by_standing_there() {
    let mut lock = lock("b");
    for second in [0, 5, 10] {
        let _ = lock.on(at(second), wall(), Some(lease(7, held("a"))));
        assert_eq!(lock.refused_by(), None);
    }
    let _ = lock.on(at(15), wall(), Some(lease(8, held("a"))));
    assert_eq!(lock.refused_by().map(|record| record.holder.as_str()), Some("a"));
    let _ = lock.on(at(20), wall(), Some(lease(8, held("a"))));
    assert!(lock.refused_by().is_some());
    let _ = lock.on(at(25), wall(), Some(lease(9, held(""))));
    assert_eq!(lock.refused_by(), None, "it was given back");
}

#[test]
fn a_lease_that_nobody_holds_is_taken_at_once_and_a_nameless_duration_is_not_zero() {
    let mut lock = lock("b");
    assert_eq!(updated(lock.on(at(0), wall(), Some(lease(7, held(""))))).1.transitions, 4);
    let silent = LeaseRecord { duration_seconds: 0, ..held("a") };
    assert_eq!(lock.on(at(1), wall(), Some(lease(8, silent))), LockAction::Look { at: at(6) });
}

#[test]
fn an_outage_stops_the_writing_and_a_renewal_takes_it_up_again() {
    let mut lock = holder("a");
    assert_eq!(lock.unread(at(20)), LockAction::Look { at: at(25) });
    assert!(!lock.may_write(at(300)) && !lock.is_lost());
    let (_, record) = updated(lock.on(at(300), wall(), Some(lease(1, held("a")))));
    let _ = lock.answered(at(300), at(301), Some(lease(2, record)));
    assert!(lock.may_write(at(301)));
}

#[test]
fn a_lock_that_another_one_took_or_that_somebody_deleted_is_lost_for_good() {
    for seen in [Some(lease(9, held("b"))), Some(lease(9, held(""))), None] {
        let mut lock = holder("a");
        assert_eq!(lock.on(at(20), wall(), seen), LockAction::Rest);
        assert!(lock.is_lost() && !lock.may_write(at(20)));
        assert_eq!(lock.on(at(90), wall(), None), LockAction::Rest);
        assert_eq!(lock.give_back(at(90)), LockAction::Rest);
    }
}

#[test]
fn a_write_whose_answer_was_lost_counts_only_when_it_is_confirmed() {
    let mut lock = lock("a");
    let _ = lock.on(at(0), wall(), None);
    assert_eq!(lock.answered(at(0), at(30), None), LockAction::Look { at: at(35) });
    let (_, record) = updated(lock.on(at(35), wall(), Some(lease(1, held("a")))));
    assert!(!lock.may_write(at(35)));
    let _ = lock.answered(at(35), at(36), Some(lease(2, record)));
    assert!(lock.may_write(at(74)) && !lock.may_write(at(75)));
}

#[test]
fn giving_back_ends_the_writing_before_anything_is_sent_and_empties_the_lease() {
    let mut lock = holder("a");
    assert_eq!(lock.give_back(at(12)), LockAction::Look { at: at(12) });
    assert!(!lock.may_write(at(12)));
    let (_, record) = updated(lock.on(at(12), wall(), Some(lease(1, held("a")))));
    assert_eq!(
        (record.holder.as_str(), record.duration_seconds, record.transitions, &record.run),
        ("", 1, 3, &None)
    );
    // The answer is lost, the write was not: the second look shows it.
    assert_eq!(lock.answered(at(12), at(13), None), LockAction::Look { at: at(18) });
    assert_eq!(lock.on(at(18), wall(), Some(lease(2, record))), LockAction::Rest);
    assert!(!lock.is_lost());
}

#[test]
fn times_that_do_not_work_together_are_refused() {
    for (lease, deadline, retry) in [(60, 60, 5), (60, 6, 5), (60, 40, 0)] {
        assert!(LockTimes::new(at(lease), at(deadline), at(retry)).is_err(), "{lease} {deadline} {retry}");
    }
    assert!(LockTimes::new(Duration::from_millis(1500), S, S / 10).is_err());
    assert_eq!(LockTimes::new(at(60), at(40), at(5)), Ok(LockTimes::default()));
}

/// Chance, from the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A process: its clock has an offset and a rate of its own.
struct Process {
    lock: Lock,
    offset: u64,
    /// In percent of real time.
    rate: u64,
    alive: bool,
    /// Which question or write is waited for; the answers to others come too late.
    waits_for: u64,
    sent: Duration,
}

impl Process {
    fn clock(&self, now: u64) -> Duration {
        Duration::from_millis(self.offset + now * self.rate / 100)
    }

    /// The real time at which its clock shows `local`, or later.
    fn real(&self, local: Duration) -> u64 {
        let millis = u64::try_from(local.as_millis()).unwrap();
        (millis.saturating_sub(self.offset) * 100).div_ceil(self.rate)
    }
}

/// On its way.
enum Flight {
    Read(usize, u64),
    ReadAnswer(usize, u64, Option<Lease>),
    Write(usize, u64, LockAction),
    WriteAnswer(usize, u64, Option<Lease>),
    /// The process has waited long enough for an answer.
    GaveUp(usize, u64, bool),
}

/// A server with one Lease, a network that delays and loses, and processes.
struct World {
    now: u64,
    dice: Dice,
    server: Option<Lease>,
    versions: u32,
    flights: BTreeMap<(u64, u64), Flight>,
    count: u64,
    processes: Vec<Process>,
    /// In how many of a hundred cases the network misbehaves.
    trouble: u64,
}

/// How long a process waits for an answer, in milliseconds.
const PATIENCE: u64 = 10_000;

impl World {
    fn new(seed: u64, contenders: usize, trouble: u64) -> Self {
        let mut dice = Dice(seed);
        let process = |index: usize, dice: &mut Dice| Process {
            lock: lock(&format!("process-{index}")),
            offset: dice.roll(1_000_000),
            rate: 90 + dice.roll(21),
            alive: true,
            waits_for: 0,
            sent: Duration::ZERO,
        };
        let processes = (0..contenders).map(|index| process(index, &mut dice)).collect();
        let flights = BTreeMap::new();
        let mut world =
            Self { now: 0, dice, server: None, versions: 0, flights, count: 0, processes, trouble };
        for index in 0..contenders {
            let now = world.processes[index].clock(0);
            world.act(index, LockAction::Look { at: now });
        }
        world
    }

    fn fly(&mut self, at: u64, flight: Flight) {
        self.count += 1;
        self.flights.insert((at.max(self.now), self.count), flight);
    }

    fn troubled(&mut self) -> bool {
        self.dice.roll(100) < self.trouble
    }

    /// A usual delay, or a very long one.
    fn delay(&mut self) -> u64 {
        if self.troubled() { self.dice.roll(200_000) } else { 1 + self.dice.roll(800) }
    }

    fn act(&mut self, index: usize, action: LockAction) {
        self.count += 1;
        let ticket = self.count;
        let process = &mut self.processes[index];
        process.waits_for = ticket;
        let (start, write) = match &action {
            LockAction::Look { at } => (process.real(*at).max(self.now), false),
            LockAction::Create(_) | LockAction::Update { .. } => {
                process.sent = process.clock(self.now);
                (self.now, true)
            }
            LockAction::Rest => return,
        };
        let arrives = start + self.delay();
        self.fly(
            arrives,
            if write { Flight::Write(index, ticket, action) } else { Flight::Read(index, ticket) },
        );
        self.fly(start + PATIENCE, Flight::GaveUp(index, ticket, write));
    }

    fn write(&mut self, action: LockAction) -> Option<Lease> {
        let uid = |n: u32| Uid::new(format!("uid-{n}")).unwrap();
        let (uid, record) = match (action, &self.server) {
            (LockAction::Create(record), None) => (uid(self.versions), record),
            (LockAction::Update { over, record }, Some(lease))
                if (&over.uid, &over.resource_version) == (&lease.uid, &lease.resource_version) =>
            {
                (over.uid, record)
            }
            _ => return None,
        };
        self.versions += 1;
        let lease = Lease { uid, resource_version: self.versions.to_string(), record };
        self.server = Some(lease.clone());
        Some(lease)
    }

    /// The next thing happens. Nothing happens to the dead, but what they sent still arrives.
    fn step(&mut self) {
        let Some(((at, _), flight)) = self.flights.pop_first() else { return };
        self.now = at;
        match flight {
            Flight::Read(index, ticket) => {
                let (back, seen) = (self.now + self.delay(), self.server.clone());
                self.fly(back, Flight::ReadAnswer(index, ticket, seen));
            }
            Flight::Write(index, ticket, action) => {
                let answer = self.write(action);
                if !self.troubled() {
                    let back = self.now + self.delay();
                    self.fly(back, Flight::WriteAnswer(index, ticket, answer));
                }
            }
            Flight::ReadAnswer(index, ticket, seen) => {
                self.wake(index, ticket, |process, now| process.lock.on(now, wall(), seen));
            }
            Flight::WriteAnswer(index, ticket, answer) => {
                self.wake(index, ticket, |process, now| process.lock.answered(process.sent, now, answer));
            }
            Flight::GaveUp(index, ticket, write) => self.wake(index, ticket, |process, now| {
                if write { process.lock.answered(process.sent, now, None) } else { process.lock.unread(now) }
            }),
        }
    }

    fn wake(&mut self, index: usize, ticket: u64, f: impl FnOnce(&mut Process, Duration) -> LockAction) {
        let process = &mut self.processes[index];
        if !process.alive || process.waits_for != ticket {
            return;
        }
        let now = process.clock(self.now);
        let action = f(process, now);
        self.act(index, action);
    }

    fn writers(&self) -> Vec<usize> {
        let may = |process: &Process| process.alive && process.lock.may_write(process.clock(self.now));
        (0..self.processes.len()).filter(|index| may(&self.processes[*index])).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the clocks show, whatever is delayed, lost, crashed or given back: never two who may write; and when the
    /// network is well again, whoever is left gets the lock.
    #[test]
    fn never_two_may_write_and_the_last_one_gets_it(seed: u64, contenders in 2_usize..5, trouble in 0_u64..40) {
        let mut world = World::new(seed, contenders, trouble);
        let mut held = 0;
        for _ in 0..1_500 {
            world.step();
            let writers = world.writers();
            prop_assert!(writers.len() <= 1, "at {} ms: {writers:?} may all write", world.now);
            held += writers.len();
            match world.dice.roll(400) {
                0 => {
                    // The holder dies, and another process comes.
                    if let Some(index) = writers.first().copied() {
                        world.processes[index].alive = false;
                        let name = format!("process-{}", world.processes.len());
                        let (offset, rate) = (world.dice.roll(1_000_000), 90 + world.dice.roll(21));
                        let (alive, waits_for, sent) = (true, 0, Duration::ZERO);
                        world.processes.push(Process { lock: lock(&name), offset, rate, alive, waits_for, sent });
                        let index = world.processes.len() - 1;
                        let now = world.processes[index].clock(world.now);
                        world.act(index, LockAction::Look { at: now });
                    }
                }
                1 => {
                    if let Some(index) = writers.first().copied() {
                        let now = world.processes[index].clock(world.now);
                        let action = world.processes[index].lock.give_back(now);
                        world.act(index, action);
                    }
                }
                _ => {}
            }
        }
        prop_assert!(trouble > 20 || held > 0, "nobody ever held it");

        world.trouble = 0;
        let seeking = |process: &Process| process.alive && process.lock.standing == Standing::Seeking;
        let Some(last) = world.processes.iter().position(seeking) else { return Ok(()) };
        for (index, process) in world.processes.iter_mut().enumerate() {
            process.alive = index == last;
        }
        // What was sent before may still arrive for as long as the longest delay, and then lasts a lease.
        let limit = world.now + 200_000 + 3 * 60_000;
        while world.writers().is_empty() && world.now < limit && !world.flights.is_empty() {
            world.step();
        }
        prop_assert_eq!(world.writers(), [last]);
    }
}

//! The user's own probes: asked before each stage, and while a soak lasts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::gates::About;
use super::{Effect, Machine, Phase, signed};
use crate::event::EventKind;
use crate::model::ProbeName;
use crate::ports::{ProbeAnswer, Question};
use crate::run::failure::Failure;

/// How long a probe may take. Each has a limit of its own; this is for one whose limit does not hold.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is known of the probes.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Those that were asked and have not answered, since when.
    asked: BTreeMap<ProbeName, Timestamp>,
    /// What each has said last, and when it was asked for that.
    said: BTreeMap<ProbeName, (Timestamp, ProbeAnswer)>,
}

impl Probes {
    /// What a probe said when it was asked at `since` or later; `None` while that is not known.
    pub(super) fn said(&self, probe: &ProbeName, since: Timestamp, now: Timestamp) -> Option<ProbeAnswer> {
        if let Some((at, answer)) = self.said.get(probe)
            && *at >= since
        {
            return Some(answer.clone());
        }
        let asked = *self.asked.get(probe)?;
        let late = now.duration_since(asked) > signed(PATIENCE);
        let words = || format!("it gave no answer within {}", crate::span::show(PATIENCE));
        late.then(|| ProbeAnswer::Unknown { words: words() })
    }
}

impl Machine {
    /// Asks the probes before a stage, where there are any; true if it does. One that has begun is gone on with, and nobody
    /// has to be well for the way back.
    pub(super) fn probes_before_stage(&mut self, now: Timestamp, stage: u32) -> bool {
        let asks = self.state.stage_started(stage).is_none() && self.state.reversal().is_none();
        let probes = if asks { self.open_probes(stage) } else { Vec::new() };
        if probes.is_empty() {
            return false;
        }
        self.phase = Phase::Probing { stage, since: now };
        for probe in probes {
            self.ask_probe(now, probe);
        }
        true
    }

    /// Those whose word counts before a stage: nobody has said to go on without it.
    fn open_probes(&self, stage: u32) -> Vec<ProbeName> {
        let open = |probe: &&ProbeName| !self.state.is_approved(&question_id(stage, probe));
        self.state.probes().into_iter().filter(open).cloned().collect()
    }

    /// Begins the stage if every probe is green, asks somebody if one is not; false while they are waited for.
    pub(super) fn probed_before_stage(&mut self, now: Timestamp, stage: u32, since: Timestamp) -> bool {
        let probes = self.open_probes(stage);
        let answers: Vec<Option<ProbeAnswer>> =
            probes.iter().map(|probe| self.probes.said(probe, since, now)).collect();
        let mut known = Vec::new();
        for (probe, answer) in probes.iter().zip(answers) {
            match answer {
                Some(answer) => known.push(answer),
                // It may have answered only now to what it was asked long ago.
                None => self.ask_probe(now, probe.clone()),
            }
        }
        if known.len() < probes.len() {
            return false;
        }
        match probes.iter().zip(&known).find(|(_, answer)| !answer.is_green()) {
            None => self.begin_stage(now, stage),
            Some((probe, answer)) => {
                let title = self.plan.stage(stage).map(|stage| stage.title.clone()).unwrap_or_default();
                let question = Question {
                    id: question_id(stage, probe),
                    text: format!(
                        "Probe {probe} is not green before stage {stage} ({title}): {answer}. Begin it all the same?"
                    ),
                };
                self.asks_about(now, stage, Failure::ProbeNotGreen, question, About::Beginning);
            }
        }
        true
    }

    /// Asks a probe, unless it is being asked.
    pub(super) fn ask_probe(&mut self, now: Timestamp, probe: ProbeName) {
        if !self.probes.asked.contains_key(&probe) {
            self.probes.asked.insert(probe.clone(), now);
            self.out.push(Effect::Probe(probe));
        }
    }

    pub(super) fn probed(&mut self, now: Timestamp, probe: ProbeName, answer: ProbeAnswer) {
        let Some(asked) = self.probes.asked.remove(&probe) else { return };
        if self.probes.said.get(&probe).is_none_or(|(_, before)| *before != answer) {
            let green = answer.is_green();
            let (ProbeAnswer::Green { words } | ProbeAnswer::Red { words } | ProbeAnswer::Unknown { words }) =
                answer.clone();
            self.emit(now, EventKind::ProbeAnswered { probe: probe.to_string(), green, words });
        }
        self.probes.said.insert(probe, (asked, answer));
    }
}

fn question_id(stage: u32, probe: &ProbeName) -> String {
    format!("probe-{stage}-{probe}")
}

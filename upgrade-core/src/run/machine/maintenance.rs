//! Azure's own maintenance: what it may begin by itself while a run works, and when nothing is to happen to the cluster.

use std::time::Duration;

use jiff::Timestamp;

use super::Machine;
use super::gates::About;
use crate::plan::{Stage, duration_of};
use crate::ports::Question;

impl Machine {
    /// Asks before the first write of a stage if Azure may begin an upgrade of its own before the run is through, or is told to
    /// leave the cluster alone now; true if it does. What is under way goes on, and the way back waits for nobody.
    pub(super) fn asks_about_maintenance(&mut self, now: Timestamp, stage: &Stage) -> bool {
        let begun = stage.steps().any(|step| self.state.writes(&step.id) > 0);
        if begun || self.state.reversal().is_some() {
            return false;
        }
        let questions = [self.shut(now, stage), self.unclear(), self.window(now)];
        let mut open = questions.into_iter().flatten();
        let Some(question) = open.find(|question| !self.state.is_approved(&question.id)) else {
            return false;
        };
        self.ask(now, stage.number, question, About::Beginning);
        true
    }

    /// A time in which Azure is to do nothing counts as a freeze.
    fn shut(&self, now: Timestamp, stage: &Stage) -> Option<Question> {
        let shut = self.azure.as_ref()?.cluster.maintenance.shut_at(now)?;
        let (number, title) = (stage.number, &stage.title);
        Some(Question {
            id: format!("freeze-{number}"),
            text: format!(
                "Stage {number} ({title}) would begin in a time that Azure's maintenance configuration {} does not allow, which ends at {:.0}. Begin it all the same?",
                shut.name, shut.to
            ),
        })
    }

    /// What cannot be understood is no pass; somebody's word counts for the whole run.
    fn unclear(&self) -> Option<Question> {
        let what = self.azure.as_ref()?.cluster.maintenance.unclear.first()?;
        let text = format!(
            "Whether Azure begins an upgrade of its own while this run works is not known: {what}. Go on all the same?"
        );
        Some(Question { id: "maintenance-unclear".to_owned(), text })
    }

    /// A window that is open, or opens before the run is through, by rule of thumb. Each is asked for once.
    fn window(&self, now: Timestamp) -> Option<Question> {
        let azure = self.azure.as_ref()?;
        let left = self.plan.stages.iter().filter(|stage| self.state.stage_finished(stage.number).is_none());
        let left = duration_of(left, &azure.pools, Duration::ZERO, &self.plan.policy);
        let until = now.checked_add(left).unwrap_or(Timestamp::MAX);
        let (window, opens) = azure.cluster.maintenance.next_window(now, until)?;
        let when = if opens <= now { "has been able to" } else { "may" };
        Some(Question {
            id: format!("maintenance-{}", opens.strftime("%Y%m%dT%H%MZ")),
            text: format!(
                "Azure {when} begin an upgrade of its own from {opens:.0} on, by its maintenance configuration {window}, and this run may take {} more. Go on all the same?",
                crate::span::show(left)
            ),
        })
    }
}

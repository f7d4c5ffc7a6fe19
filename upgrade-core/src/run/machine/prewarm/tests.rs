//! Pods that pull, told by hand: what is made, when it is enough, and when it is given up.

use super::*;
use crate::model::tests_support::{node, pod};
use crate::model::{ImagePull, Pulling};
use crate::view::{Change, Object};

/// A node that is left and one that is new, and the pods that run on the former.
struct Town {
    view: View,
    warming: Warming,
    run: RunId,
    second: i64,
}

impl Town {
    fn of(pods: &[(&str, &str)]) -> Self {
        let mut view = View::default();
        for node in [node("old", "user"), node("new", "buffer")] {
            view.apply(Change::Applied(Object::Node(node)));
        }
        for (name, image) in pods {
            let running = Pod { images: vec![(*image).to_owned()], ..pod(name, "old") };
            view.apply(Change::Applied(Object::Pod(running)));
        }
        Self { view, warming: Warming::default(), run: RunId::new("r-1").unwrap(), second: 0 }
    }

    /// Looks after so many seconds more; gives the warnings and the images that came.
    fn look(&mut self, seconds: i64) -> Vec<String> {
        self.second += seconds;
        let pool = |name: &str| PoolName::new(name).unwrap();
        let case = Looking {
            view: &self.view,
            run: &self.run,
            step: &StepId::new("1.1.1").unwrap(),
            on: &pool("buffer"),
            off: &pool("user"),
            now: Timestamp::from_second(1000 + self.second).unwrap(),
            limit: Duration::from_secs(1800),
        };
        let news = self.warming.look(&case).into_iter();
        news.map(|kind| match kind {
            EventKind::ImagePulled { image, duration_ms, .. } => format!("{image} after {duration_ms} ms"),
            EventKind::Warning { message } => message,
            other => panic!("{other:?}"),
        })
        .collect()
    }

    fn verdict(&self) -> Verdict {
        self.warming.verdict(&self.view, &self.run, &PoolName::new("buffer").unwrap())
    }

    /// The one pod that is to be made.
    fn created(&self) -> PrewarmPod {
        match self.verdict() {
            Verdict::Write(writes) => match &writes[..] {
                [Write::CreatePrewarmPod { pod }] => pod.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The pods that are to be deleted.
    fn deleted(&self) -> Vec<String> {
        let Verdict::Write(writes) = self.verdict() else { return Vec::new() };
        let name = |write| {
            if let Write::DeletePrewarmPod { pod, .. } = write { Some(pod.to_string()) } else { None }
        };
        writes.into_iter().filter_map(name).collect()
    }

    /// The cluster shows the pod like this.
    fn show(&mut self, made: &PrewarmPod, run: &str, state: &PullState, refused: Option<&str>) {
        let images = made.images.iter().map(|image| ImagePull { image: image.clone(), state: state.clone() });
        let pulling = Pulling {
            run: RunId::new(run).unwrap(),
            images: images.collect(),
            refused: refused.map(Into::into),
        };
        let shown = Pod {
            owner: None,
            pulling: Some(Box::new(pulling)),
            ..pod(&made.name.to_string(), made.node.as_str())
        };
        self.view.apply(Change::Applied(Object::Pod(shown)));
    }

    fn gone(&mut self, made: &PrewarmPod) {
        let kind = crate::view::ResourceKind::Pod;
        self.view.apply(Change::Deleted { kind, name: made.name.to_string() });
    }
}

fn failed(reason: &str, message: &str) -> PullState {
    PullState::Failed { reason: reason.into(), message: message.into() }
}

#[test]
fn a_node_has_one_pod_at_a_time_and_the_next_comes_when_it_is_gone() {
    let mut town = Town::of(&[("pay/a", "pay:1"), ("shop/a", "web:1")]);
    assert_eq!(town.look(0), Vec::<String>::new());
    let first = town.created();
    assert_eq!((first.name.namespace(), &first.images[..]), ("pay", &["pay:1".to_owned()][..]));
    town.show(&first, "r-1", &PullState::Waiting, None);
    assert_eq!(town.look(5), Vec::<String>::new());
    assert!(
        matches!(town.verdict(), Verdict::Patience(what) if what == "2 images to be pulled, on 1 nodes at a time")
    );
    town.show(&first, "r-1", &PullState::Pulled, None);
    assert_eq!(town.look(7), ["pay:1 after 12000 ms"]);
    assert_eq!(town.deleted(), [first.name.to_string()]);
    town.gone(&first);
    town.look(1);
    let second = town.created();
    assert_eq!(second.name.namespace(), "shop");
    town.show(&second, "r-1", &PullState::Pulled, None);
    town.look(3);
    town.gone(&second);
    town.look(1);
    assert_eq!(town.verdict(), Verdict::Done("2 pulls (0 MiB) onto 1 nodes of buffer".into()));
}

#[test]
fn what_fails_for_three_minutes_is_named_in_the_words_of_the_registry() {
    let mut town = Town::of(&[("shop/a", "web:1")]);
    town.look(0);
    let made = town.created();
    town.show(&made, "r-1", &failed("ErrImagePull", "web:1: not found"), None);
    town.look(5);
    // While it pauses, the kubelet says nothing of the cause.
    town.show(&made, "r-1", &failed("ImagePullBackOff", "Back-off pulling image"), None);
    town.look(175);
    assert!(!matches!(town.verdict(), Verdict::Fail(..)), "a registry may be away for a while");
    town.look(10);
    let cause = "image web:1, which ReplicaSet shop/web-1 needs, cannot be pulled onto node new \
                 (ErrImagePull: web:1: not found); nothing of user is cordoned yet";
    assert_eq!(town.verdict(), Verdict::Fail(Failure::ImageMissing, cause.into()));
}

#[test]
fn a_registry_that_comes_back_in_time_is_no_failure() {
    let mut town = Town::of(&[("shop/a", "web:1")]);
    town.look(0);
    let made = town.created();
    town.show(&made, "r-1", &failed("ErrImagePull", "503"), None);
    town.look(100);
    town.show(&made, "r-1", &PullState::Waiting, None);
    town.look(70);
    town.show(&made, "r-1", &failed("ErrImagePull", "503"), None);
    town.look(100);
    town.show(&made, "r-1", &PullState::Pulled, None);
    assert_eq!(town.look(10).len(), 1);
    assert_eq!(town.deleted().len(), 1);
}

#[test]
fn a_node_that_takes_no_pod_and_one_that_never_pulls_go_on_cold() {
    for (state, refused, after, why) in [
        (PullState::Waiting, Some("OutOfpods"), 1, "the node does not take the pod: OutOfpods"),
        (PullState::Waiting, None, 1801, "nothing came in 30m (`move_timeout`)"),
    ] {
        let mut town = Town::of(&[("shop/a", "web:1")]);
        town.look(0);
        let made = town.created();
        town.show(&made, "r-1", &state, refused);
        let told = town.look(after);
        let message =
            format!("web:1 is not pulled ahead onto node new: {why}; pods pull there when they land");
        assert_eq!(told, [message]);
        assert_eq!(town.deleted(), [made.name.to_string()]);
        town.gone(&made);
        town.look(1);
        let said = "0 pulls (0 MiB) onto 0 nodes of buffer; 1 are pulled when their pods land";
        assert_eq!(town.verdict(), Verdict::Done(said.into()), "and it is not tried again");
    }
}

#[test]
fn pods_of_a_process_before_are_deleted_and_those_of_another_run_left_alone() {
    let mut town = Town::of(&[("shop/a", "web:1")]);
    town.look(0);
    let made = town.created();
    let other = |name: &str| PrewarmPod { name: name.parse().unwrap(), ..made.clone() };
    town.show(&other("shop/before"), "r-1", &PullState::Waiting, None);
    town.show(&other("shop/foreign"), "r-2", &PullState::Waiting, None);
    assert_eq!(town.deleted(), ["shop/before"]);
    assert!(town.view.pulling_pods().all(Pod::leaves_with_node), "none of them keeps a node");
}

#[test]
fn a_node_that_goes_takes_its_pulls_along() {
    let mut town = Town::of(&[("pay/a", "pay:1"), ("shop/a", "web:1")]);
    town.look(0);
    let made = town.created();
    town.show(&made, "r-1", &PullState::Waiting, None);
    let kind = crate::view::ResourceKind::Node;
    town.view.apply(Change::Deleted { kind, name: "new".into() });
    town.gone(&made);
    town.look(1);
    assert_eq!(town.verdict(), Verdict::Done("the nodes of buffer lack no image".into()));
}

use serde_json::json;

use super::super::defaults::fill;
use super::*;

fn deployment() -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "a", "image": "a:1" }] },
            },
        },
    })
}

fn new(kind: Kind, mut object: Value) -> Result<(), ApiError> {
    fill(kind, &mut object);
    check_new(kind, &object)
}

fn changed(kind: Kind, before: &Value, pointer: &str, value: Value) -> Result<(), ApiError> {
    let (mut before, mut after) = (before.clone(), before.clone());
    let (above, last) = pointer.rsplit_once('/').unwrap();
    after.pointer_mut(above).unwrap()[last] = value;
    fill(kind, &mut before);
    fill(kind, &mut after);
    check_change(kind, &before, &after)
}

fn words(result: Result<(), ApiError>) -> String {
    let error = result.unwrap_err();
    assert_eq!((error.code, error.reason), (422, "Invalid"));
    error.message
}

#[test]
fn what_is_missing_is_named_field_by_field() {
    new(Kind::Deployment, deployment()).unwrap();
    let mut bare = deployment();
    bare["spec"] = json!({ "template": {} });
    assert_eq!(
        words(new(Kind::Deployment, bare)),
        "Deployment.apps \"web\" is invalid: [spec.selector: Required value, spec.template.spec.containers: Required value]"
    );
    let mut empty = deployment();
    empty["spec"]["template"]["spec"] =
        json!({ "containers": [{ "name": "a" }, { "name": "a", "image": "b" }] });
    let error = new(Kind::Deployment, empty).unwrap_err();
    assert_eq!(
        error.message,
        "Deployment.apps \"web\" is invalid: [spec.template.spec.containers[0].image: Required value, spec.template.spec.containers[1].name: Duplicate value: \"a\"]"
    );
    let status = error.status();
    let causes = status.details.unwrap().causes.unwrap();
    assert_eq!(causes[0].field.as_deref(), Some("spec.template.spec.containers[0].image"));
    assert_eq!(causes[0].reason.as_deref(), Some("FieldValueRequired"));
}

#[test]
fn what_cannot_be_is_refused_at_any_time() {
    let web = deployment();
    for (pointer, value, expected) in [
        ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            "/spec/strategy",
            json!({ "type": "Sudden" }),
            "spec.strategy.type: Unsupported value: \"Sudden\": supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            "/spec/strategy",
            json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 0 } }),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({ "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } }),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/template/metadata",
            json!({ "labels": { "app": "other" } }),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`",
        ),
        ("/metadata/labels", json!({ "a": "b c" }), "metadata.labels: Invalid value: \"b c\""),
    ] {
        assert!(words(changed(Kind::Deployment, &web, pointer, value)).contains(expected), "{expected}");
    }
    let greedy = json!({ "name": "a", "image": "a", "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "1500m" } } });
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [greedy] } });
    assert!(words(new(Kind::Pod, pod)).contains(
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m"
    ));
    let modest = json!({ "name": "a", "image": "a", "resources": { "requests": { "cpu": "500m" }, "limits": { "cpu": 1 } } });
    new(Kind::Pod, json!({ "metadata": { "name": "p" }, "spec": { "containers": [modest] } })).unwrap();
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "maxUnavailable": 1 } });
    assert!(
        words(new(Kind::PodDisruptionBudget, budget))
            .contains("minAvailable and maxUnavailable cannot be both set")
    );
    let job = json!({ "metadata": { "name": "j" }, "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": "a" }] } } } });
    assert!(words(new(Kind::Job, job)).contains("supported values: \"OnFailure\", \"Never\""));
    for (kind, name) in [
        (Kind::Namespace, "a.b"),
        (Kind::ConfigMap, "A"),
        (Kind::ConfigMap, "-a"),
        (Kind::ClusterRole, "a/b"),
    ] {
        let error = words(new(kind, json!({ "metadata": { "name": name }, "roleRef": { "name": "r" } })));
        assert!(error.contains("metadata.name: Invalid value"), "{error}");
    }
    new(Kind::ClusterRole, json!({ "metadata": { "name": "system:node" } })).unwrap();
}

#[test]
fn what_is_fixed_stays() {
    let web = deployment();
    changed(Kind::Deployment, &web, "/spec/replicas", json!(3)).unwrap();
    let mut other = web.clone();
    other["spec"]["template"]["metadata"]["labels"]["tier"] = "front".into();
    let selector = json!({ "matchLabels": { "tier": "front" } });
    assert!(
        words(changed(Kind::Deployment, &other, "/spec/selector", selector)).contains("field is immutable")
    );
    changed(Kind::StatefulSet, &web, "/spec/replicas", json!(3)).unwrap();
    assert!(
        words(changed(Kind::StatefulSet, &web, "/spec/serviceName", json!("x")))
            .contains("updates to statefulset spec")
    );
    let pod =
        json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "a", "image": "a:1" }] } });
    changed(Kind::Pod, &pod, "/spec/containers/0/image", json!("a")).unwrap();
    assert!(
        words(changed(Kind::Pod, &pod, "/spec/nodeName", json!("n"))).contains("pod updates may not change")
    );
    let mut map = json!({ "metadata": { "name": "m" }, "data": { "a": "1" }, "immutable": true });
    assert!(
        words(changed(Kind::ConfigMap, &map, "/data/a", json!("2")))
            .contains("field is immutable when `immutable` is set")
    );
    map["immutable"] = false.into();
    changed(Kind::ConfigMap, &map, "/data/a", json!("2")).unwrap();
}

//! The forms of an answer, the options of lists, and what clients ask before they do anything.

use super::*;

async fn accepting(bench: &Bench, path: &str, accept: &str) -> Answer {
    let bearer = format!("Bearer {RANCHER}");
    bench.send("GET", &format!("{K8S}{path}"), &[("authorization", &bearer), ("accept", accept)], "").await
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn a_list_is_a_table_or_metadata_for_those_who_ask() {
    let bench = Bench::new();
    let table = accepting(&bench, "/api/v1/nodes?limit=2", TABLE).await.json();
    assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&json!("Table"), 2));
    assert!(table["metadata"]["continue"].is_string());
    assert_eq!(
        table["columnDefinitions"][0],
        json!({ "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0 })
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let name = table["rows"][0]["cells"][0].as_str().unwrap();
    let one = accepting(&bench, &format!("/api/v1/nodes/{name}?includeObject=Object"), TABLE).await.json();
    assert_eq!(
        (one["rows"].as_array().unwrap().len(), &one["rows"][0]["object"]["kind"]),
        (1, &json!("Node"))
    );
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = accepting(&bench, "/api/v1/nodes", metadata).await.json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
    assert_eq!(list["items"][0].get("spec"), None);
    let fallback = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(accepting(&bench, "/api/v1/nodes", fallback).await.json()["kind"], "NodeList");
    let protobuf = accepting(&bench, "/api/v1/nodes", "application/vnd.kubernetes.protobuf").await;
    assert_eq!((protobuf.status, protobuf.json()["reason"].as_str()), (406, Some("NotAcceptable")));
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused_by_name() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    for (query, status, words) in [
        (
            "resourceVersionMatch=Exact",
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422, "is forbidden for resourceVersion"),
        ("resourceVersionMatch=Odd&resourceVersion=1", 422, "Unsupported value"),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("watch=1&sendInitialEvents=true", 422, "requires setting resourceVersionMatch to NotOlderThan"),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422, "forbidden for watch unless sendInitialEvents"),
        ("resourceVersion=nonsense", 400, "resourceVersion is not a number"),
        ("resourceVersion=99999999", 504, "Too large resource version"),
        ("watch=1&resourceVersion=99999999", 504, "Too large resource version"),
    ] {
        let answer = bench.kube("GET", &format!("{all}?{query}"), &Value::Null).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
        assert!(answer.text.contains(words), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_moment_can_be_listed_again_and_a_forgotten_one_can_be_gone_on_from() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c"] {
        bench.kube("POST", all, &config_map(name)).await;
    }
    let first = bench.get(&format!("{all}?limit=1")).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    bench.kube("DELETE", &format!("{all}/b"), &Value::Null).await;
    let names = |list: &Value| {
        list["items"].as_array().unwrap().iter().map(|i| name_of(i).to_owned()).collect::<Vec<_>>()
    };
    let exact = bench.get(&format!("{all}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact), ["a", "b", "c"]);
    let fresh =
        bench.get(&format!("{all}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(names(&fresh), ["a", "c"]);
    assert_eq!(
        names(&bench.get(&format!("{all}?resourceVersion=0&limit=1")).await).len(),
        2,
        "the limit is not looked at"
    );
    forget(&bench);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let late = bench.kube("GET", &format!("{all}?limit=1&continue={token}"), &Value::Null).await;
    assert_eq!(late.status, 410);
    let next = late.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(
        names(&bench.get(&format!("{all}?limit=5&continue={next}")).await),
        ["c"],
        "from the same place, as it is now"
    );
}

#[tokio::test]
async fn a_client_learns_what_it_can_send() {
    let bench = Bench::new();
    let index = bench.get("/openapi/v3").await;
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = bench.get(address.split_once('?').unwrap().0).await;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
    );
    let names: Vec<_> =
        patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation"]);
    let apps = bench.get("/apis/apps/v1").await;
    let find = |name: &str| {
        apps["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned().unwrap()
    };
    assert_eq!(find("deployments")["shortNames"], json!(["deploy"]));
    assert_eq!(
        (&find("deployments/scale")["group"], &find("deployments/scale")["kind"]),
        (&json!("autoscaling"), &json!("Scale"))
    );
}

/// kubectl sends no bearer to a server without TLS, but Rancher takes its tokens as name and password, too.
#[tokio::test]
async fn a_token_opens_the_door_as_name_and_password() {
    let bench = Bench::new();
    let path = format!("{K8S}/api/v1/namespaces/default");
    let basic = |pair: &str| {
        format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair))
    };
    let good = bench.send("GET", &path, &[("authorization", &basic(RANCHER))], "").await;
    assert_eq!((good.status, good.header("x-api-cattle-auth")), (200, Some("true")));
    for bad in [basic("token-lab01:wrong"), basic("nothing"), "Basic ???".to_owned()] {
        assert_eq!(bench.send("GET", &path, &[("authorization", &bad)], "").await.status, 401);
    }
}

//! Rancher's own pages.

use super::*;

#[tokio::test]
async fn without_the_right_token_every_door_says_so_in_its_own_way() {
    let bench = Bench::new();
    for bearer in ["Bearer token-lab01:wrong", "Bearer arm-s3cret", "Basic x", ""] {
        for path in ["/v3/clusters", &format!("{K8S}/version")] {
            let answer = bench.send("GET", path, &[("authorization", bearer)], "").await;
            assert_eq!(
                (answer.status, answer.header("x-api-cattle-auth")),
                (401, Some("false")),
                "{bearer} {path}"
            );
            assert_eq!(answer.json()["status"], "401", "a text, as Rancher writes it");
        }
        let id = bench.lab.with(|world| world.azure.id().to_string());
        let answer = bench.send("GET", &format!("{id}?{API}"), &[("authorization", bearer)], "").await;
        let allowed = bearer == "Bearer arm-s3cret";
        assert_eq!(answer.status, if allowed { 200 } else { 401 }, "{bearer}");
        assert!(allowed || answer.json()["error"]["code"].is_string(), "{}", answer.text);
    }
    for (path, body) in [("/ping", "pong"), ("/healthz", "ok")] {
        assert_eq!(bench.send("GET", path, &[], "").await.text, body);
    }
    assert_eq!(bench.send("GET", "/v3/settings/cacerts", &[], "").await.status, 200);
    assert_eq!(bench.send("GET", "/v3/settings/server-version", &[], "").await.status, 401);
    assert_eq!(bench.send("GET", "/rancherversion", &[], "").await.json()["Version"], "v2.12.2");
}

#[tokio::test]
async fn rancher_shows_clusters_tokens_and_settings() {
    let bench = Bench::new();
    let page = bench.rancher("/v3/clusters?limit=1&internal=false").await;
    assert_eq!(page.header("x-api-cattle-auth"), Some("true"));
    assert_eq!(page.json()["data"][0]["id"], "c-m-demo0001");
    assert_eq!(bench.rancher("/v3/clusters/c-m-demo0001").await.json()["driver"], "imported");
    let missing = bench.rancher("/v3/clusters/c-x").await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (404, Some("NotFound")));
    assert_eq!(missing.json()["status"], 404, "a number, as norman writes it");
    assert_eq!(bench.rancher("/v3/tokens/token-lab01").await.json()["expiresAt"], "");
    assert_eq!(bench.rancher("/v3/settings/aks-refresh").await.json()["default"], "300");
    assert_eq!(bench.rancher("/v3/nonsense").await.status, 404);
    let write = bench
        .send("DELETE", "/v3/clusters/c-m-demo0001", &[("authorization", &format!("Bearer {RANCHER}"))], "")
        .await;
    assert_eq!((write.status, write.json()["code"].as_str()), (405, Some("MethodNotAllow")));
    let unknown = bench.rancher("/k8s/clusters/c-x/version").await;
    assert_eq!((unknown.status, unknown.json()["Code"]["Code"].as_str()), (404, Some("NotFound")));
    let steve = bench.rancher(&format!("{K8S}/v1/pods")).await;
    assert!(steve.status == 500 && steve.text.contains("failed to find Session"), "{}", steve.text);
}

//! The one thing wanted from a kubeconfig: the certificate authority of the API server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::value::{list_at, text_at};

const PEM_HEADER: &str = "-----BEGIN CERTIFICATE-----";

/// Only the public part is read; keys and tokens of users are skipped by the parser.
#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(rename = "certificate-authority-data")]
    authority: Option<String>,
}

/// The PEM text of the authority in a `listClusterUserCredential` answer. `None` where its kubeconfig names none.
///
/// Errors never quote the content. Two different authorities are an error: choosing one would be a guess about which
/// cluster it is.
pub(crate) fn authority(answer: &Value) -> Result<Option<String>, &'static str> {
    let mut found: Option<String> = None;
    let kubeconfigs = list_at(answer, &["kubeconfigs"]);
    if kubeconfigs.is_empty() {
        return Err("the answer holds no kubeconfig");
    }
    for kubeconfig in kubeconfigs {
        let encoded = text_at(kubeconfig, &["value"]).ok_or("a kubeconfig without content")?;
        let bytes = STANDARD.decode(encoded).map_err(|_| "a kubeconfig that is not base64")?;
        let text =
            String::from_utf8(bytes).map(SecretString::from).map_err(|_| "a kubeconfig that is not text")?;
        // The parser's message would quote the line it failed on.
        let parsed: Kubeconfig = serde_saphyr::from_str(text.expose_secret())
            .map_err(|_| "a kubeconfig that is not the YAML it should be")?;
        for entry in parsed.clusters {
            let Some(data) = entry.cluster.authority else { continue };
            let pem = pem(&data)?;
            if found.as_ref().is_some_and(|other| *other != pem) {
                return Err("kubeconfigs with different certificate authorities");
            }
            found = Some(pem);
        }
    }
    Ok(found)
}

fn pem(data: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a certificate authority that is not a PEM certificate";
    let bytes = STANDARD.decode(data.trim()).map_err(|_| WRONG)?;
    let pem = String::from_utf8(bytes).map_err(|_| WRONG)?;
    if pem.contains(PEM_HEADER) { Ok(pem) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn answer(yaml: &str) -> Value {
        json!({"kubeconfigs": [{"name": "clusterUser", "value": STANDARD.encode(yaml)}]})
    }

    fn yaml(pem: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: shop\n  cluster:\n    server: https://shop:443\n    \
             certificate-authority-data: {}\nusers:\n- name: u\n  user:\n    token: s3cret\ncontexts: []\n",
            STANDARD.encode(pem)
        )
    }

    #[test]
    fn the_authority_is_taken_out_and_an_absent_one_is_none() {
        assert_eq!(authority(&answer(&yaml(PEM))).unwrap().as_deref(), Some(PEM));
        let without = "clusters:\n- name: a\n  cluster:\n    server: https://a\n";
        assert_eq!(authority(&answer(without)), Ok(None));
    }

    #[test]
    fn a_kubeconfig_in_flow_style_and_quotes_reads_the_same() {
        let data = STANDARD.encode(PEM);
        let flow = format!(
            r#"{{"clusters": [{{"name": "a", "cluster": {{"certificate-authority-data": "{data}"}}}}]}}"#
        );
        assert_eq!(authority(&answer(&flow)).unwrap().as_deref(), Some(PEM));
    }

    #[test]
    fn nonsense_is_refused_without_quoting_it() {
        let table = [
            json!({}),
            json!({"kubeconfigs": []}),
            json!({"kubeconfigs": [{"value": "%%%s3cret"}]}),
            answer("users: [s3cret\n  bad: {"),
            answer(&yaml("s3cret, not a certificate")),
        ];
        for value in table {
            let reason = authority(&value).unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }

    #[test]
    fn two_different_authorities_are_no_answer() {
        let mut both = answer(&yaml(PEM));
        both["kubeconfigs"].as_array_mut().unwrap().push(json!({"value": STANDARD.encode(yaml(PEM))}));
        assert_eq!(authority(&both).unwrap().as_deref(), Some(PEM));
        let other = "-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n";
        both["kubeconfigs"][1]["value"] = json!(STANDARD.encode(yaml(other)));
        assert!(authority(&both).is_err());
    }
}

//! The fuzz targets' short run: known inputs, cut at every place and damaged at every place. A crash that fuzzing finds
//! becomes a line here.

use rancher_client::fuzzing;

const CLUSTER: &str = r#"{"id":"c-x7k2p","name":"x","driver":"AKS","provider":"aks","state":"active","transitioning":"no","conditions":[{"type":"Provisioned","status":"True"},{"type":"Updated","status":"True","message":"[Syncing error"}],"aksConfig":{"kubernetesVersion":"1.34.2","nodePools":[{"name":"a","count":3,"mode":"User","enableAutoScaling":true,"minCount":1,"maxCount":4294967295}]},"appliedSpec":{"aksConfig":{"type":"/v3/schemas/x"}},"aksStatus":{"upstreamSpec":{"nodePools":null},"privateRequiresTunnel":true},"caCert":"LS0tLS1CRUdJTg==","nodeCount":18446744073709551615,"annotations":{"clusters.management.cattle.io/ke-last-refresh":"-9223372036854775808","a":null}}"#;

type Decoder = fn(&[u8]);

const CORPUS: &[(Decoder, &[&str])] = &[
    (
        fuzzing::token,
        &[
            "token-7x2kp:bcdf24",
            "kubeconfig-u-a.c-m-x:bcdf",
            "ext/token-9mm4z:bcdf",
            "eyJh.eyJz.c2ln",
            "a:d",
            " x:[redacted]\r\n",
        ],
    ),
    (
        fuzzing::errors,
        &[
            "\0\u{64}\u{8}7",
            "\0\u{1}\u{1}{\"type\":\"error\",\"status\":\"401\",\"message\":\"must authenticate\"}",
            "\0\u{1d}\u{8}{\"kind\":\"Status\",\"reason\":\"TooManyRequests\",\"details\":{\"causes\":[{\"reason\":\"DisruptionBudget\"}],\"retryAfterSeconds\":10}}",
            "\0\u{64}\0error trying to reach service: cluster agent disconnected",
            "\0\u{4}\0{\"Code\":{\"Code\":\"NotFound\",\"Status\":404},\"Message\":\"No cluster available\"}",
            "\0\u{66}\u{4}<html>\u{1b}[2J",
            "\0\u{1d}\u{8}Tue, 24 Nov 2026 08:00:00 GMT",
        ],
    ),
    (fuzzing::cluster, &[CLUSTER, "null", "[]"]),
    (
        fuzzing::ownership,
        &[
            CLUSTER,
            r#"{"id":"local","driver":"imported"}"#,
            r#"{"id":"c","driver":"AKS","aksConfig":{"nodePools":[]}}"#,
        ],
    ),
    (
        fuzzing::token_info,
        &[
            r#"{"name":"token-7x2kp","expiresAt":"2026-12-01T10:00:00Z","clusterId":"c-x","enabled":true}"#,
            r#"{"metadata":{"name":"t"},"spec":{"userID":"u"},"status":{"expiresAt":"-009999-01-01T00:00:00Z"}}"#,
            r#"{"id":"t","expiresAt":"9999-12-30T22:00:00.999999999Z"}"#,
        ],
    ),
    (
        fuzzing::settings,
        &[
            r#"{"name":"system-namespaces","value":"a,,b , ","default":null}"#,
            "v2.16-head",
            "v4294967296.1",
            "vv2.9",
        ],
    ),
    (
        fuzzing::urls,
        &[
            "https://a.example.com/x\n/v3/clusters?name=a//b",
            "http://[::1]:1\n../x",
            "https://h\nv3/..%2f",
            "https://h/\n%2E%2e/a",
            "https://h\na?#",
        ],
    ),
];

#[test]
fn no_known_input_breaks_a_decoder() {
    for (decoder, inputs) in CORPUS {
        for input in *inputs {
            let input = input.as_bytes();
            decoder(input);
            for at in 0..input.len() {
                decoder(&input[..at]);
                for byte in [b'0', b'"', b'}', b'\n', b'.', b'/', 0xff] {
                    let mut damaged = input.to_vec();
                    damaged[at] = byte;
                    decoder(&damaged);
                }
            }
        }
    }
}

//! The issuer's documents, read by a JWT library that is not ours.

use std::fs;
use std::process::Command;
use std::time::Duration;

use practice::program::Invocation;
use practice::tools::Tools;

/// Reads the documents as a relying party does, and signs with each private key what the public one
/// must then verify.
const READER: &str = r#"
import glob, json, sys, jwt

public, data, issuer = sys.argv[1:]
discovery = json.load(open(public + "/.well-known/openid-configuration"))
assert discovery["issuer"] == issuer, discovery
assert discovery["jwks_uri"] == issuer + "/.well-known/jwks.json", discovery
published = jwt.PyJWKSet.from_json(open(public + "/.well-known/jwks.json").read()).keys
offered = discovery["id_token_signing_alg_values_supported"]
signed = []
for path in glob.glob(data + "/issuer-*.pem"):
    kid = path.rsplit("issuer-", 1)[1].removesuffix(".pem")
    key = next(key for key in published if key.key_id == kid)
    assert key.algorithm_name in offered and key.public_key_use == "sig", key
    token = jwt.encode({"iss": issuer, "aud": "sts"}, open(path).read(), key.algorithm_name)
    jwt.decode(token, key, algorithms=[key.algorithm_name], audience="sts", issuer=issuer)
    for other in published:
        if other is not key:
            try:
                jwt.decode(token, other, algorithms=[other.algorithm_name], audience="sts")
            except jwt.InvalidTokenError:
                continue
            raise AssertionError("another key verifies it")
    signed.append(key.algorithm_name)
assert len(published) == len(signed), published
print(" ".join(sorted(signed)))
"#;

#[test]
fn an_independent_library_takes_the_documents_and_the_keys_in_them() {
    let python = match Tools::find().python() {
        Ok(python) => python,
        Err(missing) => return println!("skipped: {missing}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let [data, public] = ["data", "public"].map(|name| folder.path().join(name));
    let issuer = "https://issuer.example/a";
    let config = folder.path().join("agent.toml");
    fs::write(&config, format!("data = {data:?}\n[issuer]\nurl = {issuer:?}\n")).unwrap();
    let rolecall = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
        command.arg("issuer").args(line.split(' ')).arg("--config").arg(&config);
        let said = command.current_dir(&folder).output().unwrap();
        assert!(said.status.success(), "{said:?}");
    };
    // One that is retired, one that signs and one that waits.
    for line in ["show", "publish --algorithm RS256", "rotate --now", "publish --algorithm ES256"] {
        rolecall(line);
    }
    rolecall("export --out public");
    let reader = Invocation::new(python).args(["-c", READER]).arg(public).arg(data);
    let read = reader.arg(issuer).run(Duration::from_secs(30)).unwrap().success().unwrap();
    assert_eq!(read.stdout.trim(), "ES256 ES256 RS256");
}

//! What stands in `deploy`: a test cannot start clusters, but it can read every file and hold it against the programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use strait_tests::certificates::Certificates;
use strait_tests::processes::program_path;
use strait_tests::wait::skipped;

const PROGRAMS: [&str; 4] = ["strait", "strait-coordinator", "strait-source-agent", "strait-sink-agent"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// All files with this extension, in whichever folder.
fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![directory()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    ensure!(!found.is_empty(), "deploy has no {extension} files");
    Ok(found)
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    let documents = text.split("\n---\n").filter(|document| !document.trim().is_empty());
    documents
        .map(|document| serde_saphyr::from_str(document).with_context(|| format!("read {}", path.display())))
        .collect()
}

fn help(program: &str) -> Result<String> {
    let mut text = String::new();
    let calls: &[&[&str]] = match program {
        "strait" => &[&["task", "list", "--help"], &["certs", "--help"]],
        _ => &[&["--help"]],
    };
    for arguments in calls {
        let output = Command::new(program_path(program)?).args(*arguments).output()?;
        text.push_str(&String::from_utf8(output.stdout)?);
    }
    Ok(text)
}

/// Every string in a document.
fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key);
                strings(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn options_in_the_environment_and_on_command_lines_are_the_programs_own() -> Result<()> {
    let help: String = PROGRAMS.iter().map(|program| help(program)).collect::<Result<_>>()?;
    let mut checked = 0;
    for file in files("yaml")? {
        for document in documents(&file)? {
            let mut texts = Vec::new();
            strings(&document, &mut texts);
            for text in texts {
                let option = if text.starts_with("STRAIT_") && !text.contains(' ') {
                    text
                } else if let Some(flag) = text.strip_prefix("--")
                    && file.components().any(|part| part.as_os_str() == "kubernetes")
                {
                    &text[..2 + flag.find('=').unwrap_or(flag.len())]
                } else {
                    continue;
                };
                ensure!(help.contains(option), "{}: no program has {option}", file.display());
                checked += 1;
            }
        }
    }
    ensure!(checked > 20, "only {checked} options were found");
    Ok(())
}

#[test]
fn configuration_files_are_accepted_by_their_programs() -> Result<()> {
    let certificates = Certificates::new()?;
    let authority = certificates.authority();
    let mut checked = 0;
    for file in files("toml")? {
        let text = fs::read_to_string(&file)?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (program, role, name) = match stem.as_str() {
            "coordinator" => ("strait-coordinator", strait_runtime::security::Role::Coordinator, "main"),
            "source-agent" => ("strait-source-agent", strait_runtime::security::Role::SourceAgent, "eu-1"),
            "sink-agent" => ("strait-sink-agent", strait_runtime::security::Role::SinkAgent, "us-1"),
            _ => continue,
        };
        certificates.issue(role, name, strait_cli::certs::Validity::days(1))?;
        let (certificate, key) = certificates.files_of(role, name);
        // Files of the place where it is to run do not stand here.
        let lines = text.lines().filter(|line| !line.starts_with("tls-")).collect::<Vec<_>>().join("\n");
        let adapted = tempfile::NamedTempFile::with_suffix(".toml")?;
        fs::write(adapted.path(), lines)?;
        let output = Command::new(program_path(program)?)
            .arg("--check-config")
            .arg("--config")
            .arg(adapted.path())
            .arg("--tls-ca")
            .arg(&authority)
            .arg("--tls-certificate")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .output()?;
        ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        checked += 1;
    }
    ensure!(checked >= 7, "only {checked} files were found");
    Ok(())
}

#[test]
fn pods_may_do_nothing_that_they_need_not() -> Result<()> {
    let mut pods = 0;
    for file in files("yaml")?.iter().filter(|file| file.components().any(|part| part.as_os_str() == "base"))
    {
        let documents = documents(file)?;
        let kinds: BTreeSet<&str> =
            documents.iter().filter_map(|document| document["kind"].as_str()).collect();
        let Some(workload) = documents.iter().find(|document| document["kind"] == "StatefulSet") else {
            continue;
        };
        for kind in ["PodDisruptionBudget", "Service", "ServiceAccount"] {
            ensure!(kinds.contains(kind), "{}: no {kind}", file.display());
        }
        let pod = &workload["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        let what = file.display();
        ensure!(pod["securityContext"]["runAsNonRoot"] == true, "{what}: may run as root");
        ensure!(pod["automountServiceAccountToken"] == false, "{what}: has a token of the cluster's");
        ensure!(security["readOnlyRootFilesystem"] == true, "{what}: may write its root");
        ensure!(security["allowPrivilegeEscalation"] == false, "{what}: may gain privileges");
        ensure!(security["capabilities"]["drop"][0] == "ALL", "{what}: keeps capabilities");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            ensure!(container[probe]["httpGet"]["path"] == "/healthz", "{what}: no {probe}");
        }
        ensure!(
            workload["spec"]["selector"]["matchLabels"] == workload["spec"]["template"]["metadata"]["labels"]
        );
        pods += 1;
    }
    ensure!(pods == 3, "{pods} workloads were found");
    for zone in ["zone-control", "zone-source", "zone-sink"] {
        let folder = directory().join("kubernetes").join(zone);
        let policy = documents(&folder.join("network-policy.yaml"))?;
        ensure!(policy[0]["spec"]["policyTypes"].as_array().is_some_and(|types| types.len() == 2));
        let kustomization = documents(&folder.join("kustomization.yaml"))?;
        for resource in kustomization[0]["resources"].as_array().context("no resources")? {
            let path = folder.join(resource.as_str().unwrap_or_default());
            ensure!(path.exists(), "{} does not exist", path.display());
        }
    }
    Ok(())
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_there_are() -> Result<()> {
    let readme = fs::read_to_string(directory().join("../README.md"))?;
    let known: BTreeSet<String> = readme
        .split('`')
        .filter(|text| text.starts_with("strait.") || text.starts_with("rpc."))
        .map(|text| text.replace('.', "_"))
        .collect();
    let observability = directory().join("observability");
    let mut asked = BTreeSet::new();
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = fs::read_to_string(observability.join(file))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        asked.extend(
            words.filter(|word| word.starts_with("strait_") || word.starts_with("rpc_")).map(str::to_owned),
        );
    }
    // Attributes, as labels.
    asked.retain(|word| {
        !["strait_task_id", "strait_stream_hop", "strait_copy_state", "rpc_method"].contains(&&**word)
    });
    ensure!(asked.len() > 10, "{asked:?}");
    for metric in &asked {
        let bare = ["_bucket", "_count", "_total", "_seconds", "_bytes"]
            .iter()
            .fold(metric.as_str(), |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
        ensure!(known.contains(metric.as_str()) || known.contains(bare), "nobody measures {metric}");
    }
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(observability.join("dashboard.json"))?)?;
    let ids: BTreeSet<_> =
        dashboard["panels"].as_array().context("no panels")?.iter().map(|p| p["id"].as_u64()).collect();
    ensure!(ids.len() == dashboard["panels"].as_array().map_or(0, Vec::len), "panels share an id");
    let alerts = documents(&observability.join("alerts.yaml"))?;
    for rule in alerts[0]["groups"][0]["rules"].as_array().context("no rules")? {
        for field in ["alert", "expr", "labels", "annotations"] {
            ensure!(!rule[field].is_null(), "an alert without {field}: {rule}");
        }
    }
    Ok(())
}

#[test]
fn units_are_what_systemd_understands() -> Result<()> {
    for unit in files("service")? {
        let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
            skipped("systemd-analyze is not installed: units are not verified");
            return Ok(());
        };
        let said = String::from_utf8_lossy(&output.stderr);
        // The programs are not installed here, and neither is the user.
        let wrong: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(unit.file_name().unwrap_or_default().to_string_lossy().as_ref()))
            .filter(|line| !line.contains("is not executable") && !line.contains("Failed to connect"))
            .collect();
        ensure!(wrong.is_empty(), "{}: {}", unit.display(), wrong.join("\n"));
    }
    Ok(())
}

//! `kubernetes_sd_configs`.

use metricsd_model::HttpOptions;

use super::http;
use super::section::Section;
use super::value::shown;
use crate::config::{KubernetesRole, KubernetesSd, KubernetesSelector, ProviderConfig};

/// Reads one entry.
pub(super) fn read(mut section: Section<'_>) -> Option<ProviderConfig> {
    let role = section.scalar("role", role);
    if role.is_none() && !section.is_written("role") {
        section
            .problem("role", format!("role is missing: one of {}", ROLES.map(|(name, _)| name).join(", ")));
    }
    let api_server = section.filled("api_server");
    if let Some(Err(message)) = api_server.as_deref().map(http::http_url) {
        section.problem("api_server", message);
    }
    let kubeconfig_file = section.file("kubeconfig_file");
    let http = http::read(&mut section);
    let (own_namespace, namespaces) = namespaces(&mut section);
    let (attach_node, attach_namespace) = attach(&mut section);
    let selectors = selectors(&mut section, role);
    check(&section, api_server.is_some(), kubeconfig_file.is_some(), own_namespace, &http);
    section.close();
    Some(ProviderConfig::Kubernetes(Box::new(KubernetesSd {
        api_server,
        role: role?,
        kubeconfig_file,
        own_namespace,
        namespaces,
        selectors,
        attach_node,
        attach_namespace,
        http,
    })))
}

fn check(section: &Section<'_>, server: bool, kubeconfig: bool, own_namespace: bool, http: &HttpOptions) {
    if server && kubeconfig {
        section.problem("kubeconfig_file", "api_server is set as well; leave one of them");
    }
    if kubeconfig && *http != HttpOptions::default() {
        section.problem(
            "kubeconfig_file",
            "the kubeconfig says how to reach the server: leave out the HTTP settings",
        );
    } else if !server && *http != HttpOptions::default() {
        section.problem_here("HTTP settings need api_server: without it the pod's own account is used");
    }
    if own_namespace && (server || kubeconfig) {
        let message =
            "own_namespace is the namespace of the pod we run in: it does not go with another server";
        section.problem("namespaces", message);
    }
}

const ROLES: [(&str, KubernetesRole); 6] = [
    ("node", KubernetesRole::Node),
    ("service", KubernetesRole::Service),
    ("pod", KubernetesRole::Pod),
    ("endpoints", KubernetesRole::Endpoints),
    ("endpointslice", KubernetesRole::EndpointSlice),
    ("ingress", KubernetesRole::Ingress),
];

fn role(text: &str) -> Result<KubernetesRole, String> {
    let role = ROLES.into_iter().find(|(name, _)| *name == text).map(|(_, role)| role);
    role.ok_or_else(|| format!("{} is none of {}", shown(text), ROLES.map(|(name, _)| name).join(", ")))
}

fn namespaces(section: &mut Section<'_>) -> (bool, Vec<String>) {
    let Some(mut namespaces) = section.section("namespaces") else { return (false, Vec::new()) };
    let own = namespaces.flag("own_namespace").unwrap_or(false);
    let names = namespaces.plain_texts("names");
    namespaces.close();
    (own, names)
}

fn attach(section: &mut Section<'_>) -> (bool, bool) {
    let Some(mut attach) = section.section("attach_metadata") else { return (false, false) };
    let node = attach.flag("node").unwrap_or(false);
    let namespace = attach.flag("namespace").unwrap_or(false);
    attach.close();
    (node, namespace)
}

fn selectors(section: &mut Section<'_>, of: Option<KubernetesRole>) -> Vec<KubernetesSelector> {
    let cx = section.cx;
    let mut selectors: Vec<KubernetesSelector> = Vec::new();
    for (path, node) in section.list("selectors") {
        let Some(mut selector) = Section::open(cx, path, node) else { continue };
        let role = selector.scalar("role", role);
        let (label, field) = (selector.filled("label"), selector.filled("field"));
        match (role, of) {
            (None, _) if !selector.is_written("role") => selector.problem("role", "role is missing"),
            (Some(role), Some(of)) if !allowed(of).contains(&role) => {
                selector
                    .problem("role", "objects of this role are not looked at for the role of the section");
            }
            (Some(role), _) if selectors.iter().any(|selector| selector.role == role) => {
                selector.problem("role", "there is a selector for this role already; join them with a comma");
            }
            _ => {}
        }
        selector.close();
        selectors.extend(role.map(|role| KubernetesSelector { role, label, field }));
    }
    selectors
}

/// Whose objects are looked at for a role.
fn allowed(role: KubernetesRole) -> &'static [KubernetesRole] {
    use KubernetesRole::{EndpointSlice, Endpoints, Ingress, Node, Pod, Service};
    match role {
        Pod => &[Pod, Node],
        Service => &[Service],
        Endpoints => &[Pod, Service, Endpoints, Node],
        EndpointSlice => &[Pod, Service, EndpointSlice, Node],
        Node => &[Node],
        Ingress => &[Ingress],
    }
}

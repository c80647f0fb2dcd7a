use std::net::IpAddr;

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{Container, Namespace};

const ID: &str = "4a1f0d5c9be2470f8a3d6e1b2c7f9081a2b3c4d5e6f708192a3b4c5d6e7f8091";
const OTHER: &str = "b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2";

fn rule(application: &str, conditions: Conditions) -> Rule {
    Rule::new(application.parse().unwrap(), "prod".parse().unwrap(), conditions).unwrap()
}

/// A rule as `application: kind=pattern kind=pattern`.
fn written(text: &str) -> Rule {
    let (application, conditions) = text.split_once(": ").unwrap();
    let conditions = conditions.split(' ').fold(Conditions::default(), |conditions, part| {
        let (kind, pattern) = part.split_once('=').unwrap();
        match kind {
            "netns" => conditions.with_netns(pattern).unwrap(),
            "cgroup" => conditions.with_cgroup(pattern).unwrap(),
            "unit" => conditions.with_unit(pattern).unwrap(),
            "address" => conditions.with_address(pattern).unwrap(),
            label => conditions.with_label(label, pattern).unwrap(),
        }
    });
    rule(application, conditions)
}

/// Evidence as `kind=value kind=value`; `pin` is the namespace's, `id` and labels the container's.
fn seen(text: &str) -> Evidence {
    let mut evidence = Evidence::default();
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        let (kind, value) = part.split_once('=').unwrap();
        match kind {
            "netns" => {
                let (name, pinned) = value.split_once('^').unwrap_or((value, ""));
                let pinned = pinned.parse().ok();
                evidence.namespace = Some(Namespace { name: name.to_owned(), inode: 7, pinned });
            }
            "cgroup" => evidence.cgroup = Some(value.parse().unwrap()),
            "address" => evidence.address = Some(value.parse().unwrap()),
            "id" => {
                let (id, labels) = (value.parse().unwrap(), BTreeMap::new());
                evidence.container = Some(Container { id, name: "web".to_owned(), labels });
            }
            label => {
                let container = evidence.container.as_mut().unwrap();
                container.labels.insert(label.to_owned(), value.to_owned());
            }
        }
    }
    evidence
}

/// A verdict as text: the workload's id and what proved it, or the refusal's word.
#[track_caller]
fn check(rules: &[&str], evidence: &str, says: &str) {
    let rules = Rules::new(rules.iter().copied().map(written).collect());
    let found = match attest(&rules, &seen(evidence)) {
        Verdict::Attested(attested) => {
            let proofs: Vec<_> = attested.proofs().iter().map(|p| p.kind.to_string()).collect();
            format!("{} by {}", attested.workload(), proofs.join(" "))
        }
        Verdict::Refused(refusal) => refusal.word().to_owned(),
    };
    assert_eq!(found, says, "{evidence}");
}

const ORDERS: &str = "cgroup=/system.slice/orders.service";

#[test]
fn a_rule_attests_who_meets_all_its_conditions() {
    check(&["orders: unit=orders.service"], ORDERS, "orders/prod/orders.service by unit");
    check(&["orders: netns=orders"], "netns=orders", "orders/prod/orders by netns");
    check(
        &["orders: netns=orders unit=orders.service"],
        &format!("netns=orders {ORDERS}"),
        "orders/prod/orders.service by unit netns",
    );
}

#[test]
fn the_instance_is_what_the_strongest_condition_saw() {
    let evidence = format!("netns=n cgroup=/docker/{ID} id={ID} app=orders address=10.0.0.1");
    let check = |rule: &str, says: &str| check(&[rule], &evidence, says);
    check("orders: app=orders netns=n", "orders/prod/4a1f0d5c9be2 by labels.app netns");
    check("orders: cgroup=/docker/* netns=n", "orders/prod/n by netns cgroup");
    check("orders: address=10.0.0.0/8", "orders/prod/10.0.0.1 by address");
    let last = seen(&format!("cgroup=/docker/{ID}"));
    let verdict = attest(&Rules::new(vec![written("orders: cgroup=/docker/*")]), &last);
    assert_eq!(verdict.attested().unwrap().workload().instance.as_str(), "4a1f0d5c9be2");
}

#[test]
fn a_cgroup_below_a_unit_or_container_does_not_become_its_sibling() {
    let check = |cgroup: &str, says: &str| {
        check(&["orders: cgroup=/system.slice/**"], &format!("cgroup={cgroup}"), says);
    };
    check("/system.slice/a.service", "orders/prod/a.service by cgroup");
    check("/system.slice/a.service/b.service", "orders/prod/a.service by cgroup");
    check(
        &format!("/system.slice/docker-{ID}.scope/b.service"),
        "orders/prod/4a1f0d5c9be2 by cgroup",
    );
}

#[test]
fn without_evidence_nobody_is_anybody() {
    check(&["orders: unit=**"], "", "no-evidence");
    check(&[], ORDERS, "unknown");
    check(&["orders: unit=orders.service"], "cgroup=/system.slice/billing.service", "unknown");
}

#[test]
fn the_root_cgroup_is_no_evidence() {
    check(&["orders: cgroup=**", "billing: cgroup=/"], "cgroup=/", "no-evidence");
    check(&["orders: cgroup=**"], "cgroup=/ netns=x", "unknown");
}

#[test]
fn proofs_that_disagree_are_a_refusal() {
    let rule = "orders: netns=orders unit=orders.service";
    check(&[rule], "netns=orders cgroup=/system.slice/billing.service", "disagree");
    check(&[rule], "netns=orders", "disagree");
    check(&[rule], &format!("netns=billing {ORDERS}"), "disagree");
    check(&[rule], "netns=billing cgroup=/system.slice/billing.service", "unknown");
}

#[test]
fn proofs_for_two_workloads_are_a_refusal() {
    let rules = ["orders: netns=orders", "billing: unit=billing.service"];
    check(&rules, "netns=orders cgroup=/system.slice/billing.service", "ambiguous");
    check(&rules, "netns=orders", "orders/prod/orders by netns");
    check(
        &["orders: unit=*", "orders: netns=orders"],
        &format!("netns=orders {ORDERS}"),
        "ambiguous",
    );
}

#[test]
fn two_rules_may_say_the_same() {
    let rules = ["orders: unit=orders.service", "orders: unit=orders.*"];
    check(&rules, ORDERS, "orders/prod/orders.service by unit");
}

#[test]
fn a_pinned_namespace_refuses_sockets_from_elsewhere() {
    let rule = ["orders: netns=orders"];
    check(&rule, "netns=orders^/a cgroup=/a", "orders/prod/orders by netns");
    check(&rule, "netns=orders^/a cgroup=/a/b", "orders/prod/orders by netns");
    check(&rule, "netns=orders^/a cgroup=/ab", "moved");
    check(&rule, "netns=orders^/a/b cgroup=/a", "moved");
    check(&rule, "netns=orders^/a cgroup=/", "moved");
    check(&rule, "netns=orders^/a", "moved");
}

#[test]
fn a_namespace_pinned_to_the_root_is_not_pinned() {
    check(&["orders: netns=orders"], "netns=orders^/", "orders/prod/orders by netns");
}

#[test]
fn labels_of_another_container_count_for_nothing() {
    let rule = ["orders: app=orders"];
    check(
        &rule,
        &format!("cgroup=/docker/{ID} id={ID} app=orders"),
        "orders/prod/4a1f0d5c9be2 by labels.app",
    );
    check(&rule, &format!("cgroup=/docker/{ID} id={OTHER} app=orders"), "other-container");
    check(&rule, &format!("cgroup=/docker/{ID} id={ID} app=billing"), "unknown");
    check(&rule, &format!("cgroup=/docker/{ID} id={ID}"), "unknown");
}

#[test]
fn an_address_counts_only_for_a_rule_that_names_one() {
    check(&["orders: netns=orders"], "address=10.0.0.1", "unknown");
    check(&["orders: address=10.0.0.0/8"], "address=10.0.0.1", "orders/prod/10.0.0.1 by address");
    check(&["orders: address=10.0.0.0/8 netns=orders"], "address=10.0.0.1 netns=x", "disagree");
}

#[test]
fn a_users_unit_never_meets_a_rule_for_the_systems() {
    let user = "cgroup=/user.slice/user-7.slice/user@7.service/app.slice/orders.service";
    check(&["orders: unit=orders.service", "billing: unit=*"], user, "unknown");
    let own = ["orders: unit=user@7.service/orders.service"];
    check(&own, user, "orders/prod/user@7.service-orders.service-95868e3f8a877a8b by unit");
}

#[test]
fn a_unit_that_names_its_children_after_others_stays_itself() {
    let evil = "cgroup=/system.slice/evil.service/orders.service";
    check(
        &["orders: unit=orders.service", "evil: unit=evil.service"],
        evil,
        "evil/prod/evil.service by unit",
    );
    check(&["orders: cgroup=/system.slice/*"], evil, "unknown");
}

#[test]
fn a_refusal_names_what_each_proof_said() {
    let rules = Rules::new(vec![written("orders: netns=orders unit=orders.service")]);
    let evidence = seen("netns=orders cgroup=/system.slice/billing.service");
    let Verdict::Refused(refusal) = attest(&rules, &evidence) else { panic!("attested") };
    assert_eq!(
        refusal.to_string(),
        "proofs disagree; rule 0: unit is `billing.service`, not `orders.service`, netns is `orders`"
    );
    assert!(crate::explain(&rules, &evidence).to_string().contains(&refusal.to_string()));
}

#[test]
fn a_refusal_is_bounded_whatever_the_number_of_rules() {
    let near =
        (0..100).map(|n| written(&format!("a{n}: netns=orders unit=a{n}.service"))).collect();
    let Verdict::Refused(Refusal::Disagree { near }) =
        attest(&Rules::new(near), &seen("netns=orders"))
    else {
        panic!("not a disagreement")
    };
    assert_eq!(near.len(), Refusal::NEAR_MAX);
}

#[test]
fn a_rule_without_a_condition_cannot_be_made() {
    let names = ("orders".parse().unwrap(), "prod".parse().unwrap());
    let error = Rule::new(names.0, names.1, Conditions::default()).unwrap_err().to_string();
    assert!(error.contains("orders/prod") && error.contains("`netns`"), "{error}");
}

#[test]
fn a_wrong_condition_is_refused_with_the_name_of_its_field() {
    let new = Conditions::default;
    for (error, says) in [
        (new().with_netns("[a"), "`netns`"),
        (new().with_cgroup(""), "`cgroup`"),
        (new().with_unit("{a"), "`unit`"),
        (new().with_label("app", "{a"), "`labels.app`"),
        (new().with_address("10.0.0.1/8"), "`address`"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

/// What `attest` promises, without the index: a second opinion.
fn naive(rules: &[Rule], evidence: &Evidence) -> Option<Workload> {
    let pinned = evidence.namespace.as_ref().and_then(|namespace| namespace.pinned.as_ref());
    let inside =
        |pinned: &CgroupPath| evidence.cgroup.as_ref().is_some_and(|it| pinned.contains(it));
    if pinned.is_some_and(|pinned| !pinned.is_root() && !inside(pinned)) {
        return None;
    }
    let named = evidence.cgroup.as_ref().and_then(CgroupPath::container);
    if named.zip(evidence.container.as_ref()).is_some_and(|(left, right)| *left != right.id) {
        return None;
    }
    let matching = rules.iter().filter(|rule| rule.checks(evidence).iter().all(|check| check.held));
    let mut workloads: Vec<_> = matching.filter_map(|rule| rule.workload(evidence)).collect();
    workloads.sort();
    workloads.dedup();
    if workloads.len() == 1 { workloads.pop() } else { None }
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let some = |patterns: &'static [&'static str]| prop::option::weighted(0.4, select(patterns));
    (
        some(&["a", "b", "a*", "*", "{a,b}", "ab*"]),
        some(&["/s.slice/a.service", "/s.slice/*", "/s.slice/**", "/docker/*", "**"]),
        some(&[
            "a.service",
            "b.service",
            "*.service",
            "a*.service",
            "a.[st]*",
            "user@1.service/a.service",
        ]),
        some(&["a", "b", "[ab]"]),
        some(&["10.0.0.0/8", "10.0.0.1", "::/0"]),
    )
        .prop_map(|(netns, cgroup, unit, label, address)| {
            let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            let labels = parse(label).map(|glob| ("app".to_owned(), glob)).into_iter().collect();
            let address = address.map(|text| text.parse().unwrap());
            Conditions {
                netns: parse(netns),
                cgroup: parse(cgroup),
                unit: parse(unit),
                labels,
                address,
            }
        })
        .prop_filter("a rule needs a condition", |conditions| !conditions.is_empty())
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(
        (select(&["a", "b"][..]), conditions()).prop_map(|(name, it)| rule(name, it)),
        0..6,
    )
}

fn cgroups() -> impl Strategy<Value = CgroupPath> {
    let paths =
        ["/", "/s.slice", "/s.slice/a.service", "/s.slice/a.service/x", "/s.slice/b.service"];
    let more = [format!("/docker/{ID}"), "/user.slice/user@1.service/a.service".to_owned()];
    let all: Vec<_> = paths.into_iter().map(str::to_owned).chain(more).collect();
    select(all).prop_map(|text| text.parse().unwrap())
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let namespace = (select(&["a", "b", "ab", "ä"][..]), prop::option::weighted(0.3, cgroups()))
        .prop_map(|(name, pinned)| Namespace { name: name.to_owned(), inode: 7, pinned });
    let container = (select(&[ID, OTHER][..]), select(&["a", "b"][..])).prop_map(|(id, label)| {
        let labels = BTreeMap::from([("app".to_owned(), label.to_owned())]);
        Container { id: id.parse().unwrap(), name: String::new(), labels }
    });
    let address = select(&["10.0.0.1", "10.0.0.2", "fd00::1"][..])
        .prop_map(|text| text.parse::<IpAddr>().unwrap());
    let option = prop::option::of::<BoxedStrategy<_>>;
    (
        prop::option::of(namespace),
        prop::option::of(cgroups()),
        prop::option::of(container),
        option(address.boxed()),
    )
        .prop_map(|(namespace, cgroup, container, address)| Evidence {
            namespace,
            cgroup,
            container,
            address,
        })
}

fn workload(rules: &[Rule], evidence: &Evidence) -> Option<Workload> {
    attest(&Rules::new(rules.to_vec()), evidence).attested().map(|it| it.workload().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_index_changes_no_verdict(rules in rules(), evidence in evidence()) {
        prop_assert_eq!(workload(&rules, &evidence), naive(&rules, &evidence));
    }

    #[test]
    fn the_order_of_the_rules_changes_no_verdict(
        (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        evidence in evidence(),
    ) {
        prop_assert_eq!(workload(&rules, &evidence), workload(&shuffled, &evidence));
    }

    #[test]
    fn more_evidence_never_makes_a_caller_somebody_else(
        rules in rules(), full in evidence(), keep in any::<[bool; 5]>(),
    ) {
        let mut less = full.clone();
        less.namespace = less.namespace.filter(|_| keep[0]);
        if let Some(namespace) = &mut less.namespace {
            namespace.pinned = namespace.pinned.take().filter(|_| keep[1]);
        }
        less.cgroup = less.cgroup.filter(|_| keep[2]);
        less.container = less.container.filter(|_| keep[3]);
        less.address = less.address.filter(|_| keep[4]);
        if let (Some(before), Some(after)) = (workload(&rules, &less), workload(&rules, &full)) {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn a_new_rule_never_makes_a_caller_somebody_else(
        rules in rules(), new in rules(), evidence in evidence(),
    ) {
        let more: Vec<_> = rules.iter().chain(&new).cloned().collect();
        if let (Some(before), Some(after)) = (workload(&rules, &evidence), workload(&more, &evidence)) {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn whoever_is_attested_met_every_condition_of_the_rule_that_is_named(
        rules in rules(), evidence in evidence(),
    ) {
        if let Some(attested) = attest(&Rules::new(rules.clone()), &evidence).attested() {
            let rule = &rules[attested.rule()];
            prop_assert!(rule.matches(&evidence));
            prop_assert_eq!(rule.application(), &attested.workload().application);
            prop_assert_eq!(attested.proofs().len(), rule.conditions().all().count());
        }
    }

    #[test]
    fn a_pinned_namespace_never_vouches_for_a_cgroup_outside(rules in rules(), evidence in evidence()) {
        let pinned = evidence.namespace.as_ref().and_then(|namespace| namespace.pinned.as_ref());
        let inside = |pinned: &CgroupPath| evidence.cgroup.as_ref().is_some_and(|it| pinned.contains(it));
        if pinned.is_some_and(|pinned| !inside(pinned) && !pinned.is_root()) {
            prop_assert_eq!(workload(&rules, &evidence), None);
        }
    }

    #[test]
    fn an_explanation_says_what_attest_says(rules in rules(), evidence in evidence()) {
        let rules = Rules::new(rules);
        let explanation = crate::explain(&rules, &evidence);
        prop_assert_eq!(&explanation.verdict, &attest(&rules, &evidence));
        prop_assert_eq!(explanation.rules.len(), rules.as_slice().len());
        if let Verdict::Refused(Refusal::Unknown) = explanation.verdict {
            prop_assert!(explanation.rules.iter().all(|it| it.checks.iter().all(|check| !check.held)));
        }
        prop_assert!(explanation.to_string().contains("verdict\n"));
    }
}

//! What hosts see takes the place of what they saw.

use state::{Report, SeenRow, StateError, WorkloadFilter, WorkloadRow};

use crate::world::{Kind, World, at, on_both};

fn seen(workload: &str, body: &str) -> SeenRow {
    let mut parts = workload.split('/').map(str::to_owned);
    let (application, environment) = (parts.next().unwrap(), parts.next().unwrap());
    let [workload, body] = [workload, body].map(str::to_owned);
    SeenRow { workload, application, environment, body }
}

fn report(host: &str, boot: &str, sequence: u64, workloads: &[(&str, &str)]) -> Report {
    Report {
        host: host.to_owned(),
        boot: boot.to_owned(),
        sequence,
        received: at(i64::try_from(sequence).unwrap()),
        version: "1".to_owned(),
        orders: (sequence > 1).then(|| (7, at(3))),
        workloads: workloads.iter().map(|(workload, body)| seen(workload, body)).collect(),
    }
}

async fn held(world: &World, filter: &WorkloadFilter) -> Vec<String> {
    let mut reading = world.state.read().await.unwrap();
    let rows = reading.workloads(filter, None, 100).await.unwrap();
    assert_eq!(reading.count_workloads(filter).await.unwrap(), rows.len() as u64);
    let mut streamed = Vec::new();
    reading.workloads_in(filter, |row| streamed.push(row)).await.unwrap();
    assert_eq!(streamed, rows);
    let shown = |row: WorkloadRow| format!("{} {} {}", row.workload, row.host, row.body);
    rows.into_iter().map(shown).collect()
}

on_both! {
    async fn what_a_host_reported_is_forgotten_a_day_after_it_fell_silent(world) {
        let kept = state::REPORTS_KEPT.as_secs();
        let gone = report("h1", "b1", 1, &[("a/p/1", "x"), ("a/p/2", "x")]);
        let later = report("h2", "b1", 1, &[("a/p/1", "x")]);
        let later = Report { received: at(1000), ..later };
        assert!(world.state.put_report(&gone).await.unwrap());
        assert!(world.state.put_report(&later).await.unwrap());
        let received = gone.received.as_second() - at(0).as_second();
        assert_eq!(world.state.prune(at(received + kept - 1)).await.unwrap(), 0);
        assert_eq!(world.state.prune(at(received + kept)).await.unwrap(), 3);
        assert_eq!(held(&world, &WorkloadFilter::default()).await, ["a/p/1 h2 x"]);
        assert!(world.state.read().await.unwrap().report("h1").await.unwrap().is_none());
        // It is back: all of it counts again.
        let back = Report { sequence: 2, received: at(2000), ..gone };
        assert!(world.state.put_report(&back).await.unwrap());
        assert_eq!(held(&world, &WorkloadFilter::default()).await.len(), 3);
    }

    async fn a_report_takes_the_place_of_the_one_before(world) {
        let first = report("h1", "b1", 1, &[("a/p/1", "x"), ("a/p/2", "x"), ("b/p/1", "x")]);
        assert!(world.state.put_report(&first).await.unwrap());
        let row = world.state.read().await.unwrap().report("h1").await.unwrap().unwrap();
        assert_eq!((row.workloads, row.orders_revision, row.orders_issued), (3, None, None));
        let second = report("h1", "b1", 2, &[("a/p/2", "y"), ("b/p/1", "x"), ("c/p/1", "x")]);
        assert!(world.state.put_report(&second).await.unwrap());
        let all = held(&world, &WorkloadFilter::default()).await;
        assert_eq!(all, ["a/p/2 h1 y", "b/p/1 h1 x", "c/p/1 h1 x"]);
        let mut reading = world.state.read().await.unwrap();
        let row = reading.report("h1").await.unwrap().unwrap();
        assert_eq!((row.orders_revision, row.orders_issued), (Some(7), Some(at(3))));
        assert_eq!(reading.runs("h1", "b/p/1").await.unwrap(), Some(at(2)));
        assert_eq!(reading.runs("h1", "a/p/1").await.unwrap(), None);
        assert_eq!(reading.runs("h2", "b/p/1").await.unwrap(), None);
    }

    async fn many_are_looked_up_at_once_as_one_by_one(world) {
        let ids: Vec<String> = (0..300).map(|n| format!("a/p/{n}")).collect();
        let half: Vec<(&str, &str)> = ids.iter().step_by(2).map(|id| (id.as_str(), "x")).collect();
        assert!(world.state.put_report(&report("h1", "b1", 7, &half)).await.unwrap());
        let mut reading = world.state.read().await.unwrap();
        assert!(reading.run_of(&[]).await.unwrap().is_empty());
        for count in [1, 3, 300] {
            let asked = ids.iter().take(count).flat_map(|id| [("h1", id.as_str()), ("h2", id)]);
            let asked: Vec<(&str, &str)> = asked.collect();
            let running = reading.run_of(&asked).await.unwrap();
            assert_eq!(running.len(), count.div_ceil(2));
            for (host, workload) in asked {
                let alone = reading.runs(host, workload).await.unwrap();
                let key = (host.to_owned(), workload.to_owned());
                assert_eq!(running.get(&key).copied(), alone, "{host} {workload}");
            }
        }
    }

    async fn a_report_that_was_overtaken_is_not_taken(world) {
        assert!(world.state.put_report(&report("h1", "b1", 5, &[("a/p/1", "x")])).await.unwrap());
        assert!(!world.state.put_report(&report("h1", "b1", 4, &[])).await.unwrap());
        assert_eq!(held(&world, &WorkloadFilter::default()).await, ["a/p/1 h1 x"]);
        // The same again, because its answer was lost.
        assert!(world.state.put_report(&report("h1", "b1", 5, &[("a/p/1", "x")])).await.unwrap());
        // After a reboot numbers begin anew.
        assert!(world.state.put_report(&report("h1", "b2", 1, &[])).await.unwrap());
        assert!(held(&world, &WorkloadFilter::default()).await.is_empty());
    }

    async fn reports_of_one_host_at_once_end_as_the_latest(world) {
        let other = world.another().await;
        let reports: Vec<_> = (1..=20_u64)
            .map(|number| {
                let state = if number % 2 == 0 { world.state.clone() } else { other.clone() };
                tokio::spawn(async move {
                    let name = format!("a/p/{number}");
                    let workloads = [(name.as_str(), "x"), ("a/p/all", name.as_str())];
                    state.put_report(&report("h1", "b1", number, &workloads)).await.unwrap()
                })
            })
            .collect();
        for report in reports {
            report.await.unwrap();
        }
        let all = held(&world, &WorkloadFilter::default()).await;
        assert_eq!(all, ["a/p/20 h1 x", "a/p/all h1 a/p/20"]);
    }

    async fn a_report_waits_for_no_act(world) {
        let act = world.state.act().await.unwrap();
        if world.kind == Kind::Postgres {
            assert!(world.state.put_report(&report("h1", "b1", 1, &[])).await.unwrap());
        } else {
            // SQLite has one writer; its acts are as short.
            drop(act);
            assert!(world.state.put_report(&report("h1", "b1", 1, &[])).await.unwrap());
        }
    }

    async fn workloads_are_found_by_what_is_asked_of_them(world) {
        let on_h1 = [("a/p/1", "x"), ("a/t/1", "x"), ("b/p/1", "x")];
        world.state.put_report(&report("h1", "b1", 1, &on_h1)).await.unwrap();
        world.state.put_report(&report("h2", "b1", 1, &[("a/p/1", "y")])).await.unwrap();
        let filter = |application: &str, environment: &str, host: &str, workload: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            WorkloadFilter {
                application: given(application),
                environment: given(environment),
                host: given(host),
                workload: given(workload),
            }
        };
        let found = async |filter: WorkloadFilter| held(&world, &filter).await;
        assert_eq!(found(filter("", "", "", "")).await.len(), 4);
        assert_eq!(found(filter("a", "", "", "")).await.len(), 3);
        assert_eq!(found(filter("a", "t", "", "")).await, ["a/t/1 h1 x"]);
        assert_eq!(found(filter("a", "p", "h2", "")).await, ["a/p/1 h2 y"]);
        assert_eq!(found(filter("", "", "h1", "a/p/1")).await, ["a/p/1 h1 x"]);
        assert!(found(filter("c", "", "", "")).await.is_empty());
    }

    async fn a_report_with_one_workload_twice_holds_it_once(world) {
        let twice = [("a/p/1", "x"), ("a/p/1", "y")];
        assert!(world.state.put_report(&report("h1", "b1", 1, &twice)).await.unwrap());
        assert_eq!(held(&world, &WorkloadFilter::default()).await, ["a/p/1 h1 y"]);
    }

    async fn a_text_that_only_one_database_would_hold_is_refused_by_both(world) {
        let put = world.state.put_report(&report("h\0", "b1", 1, &[])).await;
        assert!(matches!(put, Err(StateError::Conflict { .. })), "{put:?}");
    }
}

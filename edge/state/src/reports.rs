//! What hosts see. None of it is an act: no host can change what it may.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cell::Cells;
use crate::link::{Link, Statement, put_sql};
use crate::stored::{Stored as _, rows};
use crate::{Reading, State, StateError};

rows! {
    /// A host's last report, without the workloads.
    pub struct ReportRow in reports (host) {
        /// The host.
        host: String,
        /// Which boot of its kernel it is.
        boot: String,
        /// The report's number since that boot.
        sequence: u64,
        /// When it came.
        received: Timestamp,
        /// The agent's version.
        version: String,
        /// The revision of the orders that the host works from.
        orders_revision: Option<u64>,
        /// When those were issued.
        orders_issued: Option<Timestamp>,
        /// How many workloads it names.
        workloads: u64,
    }
}

/// A report of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The host.
    pub host: String,
    /// Which boot of its kernel it is.
    pub boot: String,
    /// Its number since that boot.
    pub sequence: u64,
    /// When it came.
    pub received: Timestamp,
    /// The agent's version.
    pub version: String,
    /// The orders that the host works from: their revision, and when they were issued.
    pub orders: Option<(u64, Timestamp)>,
    /// All that runs on the host.
    pub workloads: Vec<SeenRow>,
}

/// A workload in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRow {
    /// Its id.
    pub workload: String,
    /// Its application.
    pub application: String,
    /// Its environment.
    pub environment: String,
    /// What else the host says of it, as JSON.
    pub body: String,
}

/// A workload that a host's last report names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRow {
    /// Its id.
    pub workload: String,
    /// The host.
    pub host: String,
    /// Its application.
    pub application: String,
    /// Its environment.
    pub environment: String,
    /// What else the host says of it, as JSON.
    pub body: String,
    /// When the report came.
    pub reported: Timestamp,
}

/// Which workloads are wanted: those that are equal in each field that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Of this application.
    pub application: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// On this host.
    pub host: Option<String>,
    /// With this id.
    pub workload: Option<String>,
}

/// A workload as a place in the list of them: its id and its host.
pub type WorkloadKey = (String, String);

impl WorkloadFilter {
    /// The conditions, and their values, which are numbered from `first` on.
    fn conditions(&self, first: usize) -> (String, Vec<&str>) {
        let fields = [
            ("application", &self.application),
            ("environment", &self.environment),
            ("host", &self.host),
            ("workload", &self.workload),
        ];
        let given = fields.iter().filter_map(|(column, value)| Some((column, value.as_deref()?)));
        let (mut sql, mut values) = (String::new(), Vec::new());
        for (at, (column, value)) in given.enumerate() {
            sql.push_str(&format!(" AND w.{column} = ${}", first + at));
            values.push(value);
        }
        (sql, values)
    }
}

impl Reading {
    /// What a host reported last.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn report(&mut self, host: &str) -> Result<Option<ReportRow>, StateError> {
        self.link.by_key(host).await
    }

    /// When a host last reported that it runs a workload; none where its last report does not name it, or
    /// there is none.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn runs(
        &mut self,
        host: &str,
        workload: &str,
    ) -> Result<Option<Timestamp>, StateError> {
        let received = Statement::new(
            "SELECT r.received FROM workloads w JOIN reports r ON r.host = w.host \
             WHERE w.host = $1 AND w.workload = $2",
        );
        self.link.cell("reports", received.text(host).text(workload)).await
    }

    /// The same for many at once, each a host and a workload: those that run, and when that was reported.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn run_of(
        &mut self,
        asked: &[(&str, &str)],
    ) -> Result<BTreeMap<(String, String), Timestamp>, StateError> {
        let mut running = BTreeMap::new();
        for asked in asked.chunks(ASKED_MAX) {
            // Filled up to a power of two, so that there are few statements to prepare.
            let marks = self.link.tuples(asked.len().next_power_of_two(), 2);
            // The order of a cross join is SQLite's order of looking: so it looks up each one by its key.
            let select = Statement::new(format!(
                "WITH asked (host, workload) AS (VALUES {marks}) \
                 SELECT w.host, w.workload, r.received FROM asked a CROSS JOIN workloads w \
                 CROSS JOIN reports r \
                 WHERE w.workload = a.workload AND w.host = a.host AND r.host = w.host",
            ));
            let nobody = ("", "");
            let filled = asked.iter().chain(std::iter::repeat(&nobody));
            let select = filled
                .take(asked.len().next_power_of_two())
                .fold(select, |select, (host, workload)| select.text(host).text(workload));
            for row in &self.link.rows(select).await? {
                let mut cells = Cells::new(row, "reports");
                running.insert((cells.take()?, cells.take()?), cells.take()?);
            }
        }
        Ok(running)
    }

    /// Workloads by id and host, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn workloads(
        &mut self,
        filter: &WorkloadFilter,
        after: Option<&WorkloadKey>,
        limit: u32,
    ) -> Result<Vec<WorkloadRow>, StateError> {
        let (conditions, values) = filter.conditions(4);
        let select = Statement::new(format!(
            "SELECT w.workload, w.host, w.application, w.environment, w.body, r.received \
             FROM workloads w JOIN reports r ON r.host = w.host \
             WHERE (w.workload, w.host) > ($1, $2){conditions} ORDER BY w.workload, w.host LIMIT $3",
        ));
        let (workload, host) = after.map_or(("", ""), |(workload, host)| (workload, host));
        let select = select.text(workload).text(host).with(&i64::from(limit));
        let select = values.into_iter().fold(select, Statement::text);
        let rows = self.link.rows(select).await?;
        let read = |row| {
            let mut cells = Cells::new(row, "workloads");
            Ok(WorkloadRow {
                workload: cells.take()?,
                host: cells.take()?,
                application: cells.take()?,
                environment: cells.take()?,
                body: cells.take()?,
                reported: cells.take()?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Looks at every workload that fits, by id and host, a page at a time.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn workloads_in(
        &mut self,
        filter: &WorkloadFilter,
        mut look: impl FnMut(WorkloadRow) + Send,
    ) -> Result<(), StateError> {
        let mut after = None;
        loop {
            let page = self.workloads(filter, after.as_ref(), PAGE).await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            after = page.last().map(|last| (last.workload.clone(), last.host.clone()));
            page.into_iter().for_each(&mut look);
            if is_last {
                return Ok(());
            }
        }
    }

    /// How many workloads fit.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn count_workloads(&mut self, filter: &WorkloadFilter) -> Result<u64, StateError> {
        let (conditions, values) = filter.conditions(1);
        let sql = format!("SELECT count(*) FROM workloads w WHERE 1 = 1{conditions}");
        let count = values.into_iter().fold(Statement::new(sql), Statement::text);
        Ok(self.link.cell("workloads", count).await?.unwrap_or(0))
    }
}

/// How many workloads one statement asks for at most.
const ASKED_MAX: usize = 256;

/// How many workloads are held at a time.
const PAGE: u32 = 1000;

impl State {
    /// Takes a host's report in place of its last one; answers whether it was taken. One that was overtaken
    /// by a later one of the same boot is not.
    ///
    /// # Errors
    /// [`StateError`], as all of these. The report may then be put again.
    pub async fn put_report(&self, report: &Report) -> Result<bool, StateError> {
        let mut link = self.aside().await?;
        // This locks the host's row, so two reports of one host come one after the other.
        let (revision, issued) = report.orders.unzip();
        let put = Statement::new(format!(
            "{} WHERE reports.boot <> excluded.boot OR reports.sequence <= excluded.sequence",
            put_sql::<ReportRow>()
        ));
        let row = ReportRow {
            host: report.host.clone(),
            boot: report.boot.clone(),
            sequence: report.sequence,
            received: report.received,
            version: report.version.clone(),
            orders_revision: revision,
            orders_issued: issued,
            workloads: u64::try_from(report.workloads.len()).unwrap_or(u64::MAX),
        };
        if link.execute(put.all(row.values())).await? == 0 {
            return Ok(false);
        }
        difference(&mut link, report).await?;
        link.commit().await?;
        Ok(true)
    }
}

/// Writes only what differs: most reports say what the last one said.
async fn difference(link: &mut Link, report: &Report) -> Result<(), StateError> {
    let held = Statement::new(
        "SELECT workload, application, environment, body FROM workloads WHERE host = $1",
    );
    let rows = link.rows(held.text(&report.host)).await?;
    let mut held = BTreeMap::new();
    for row in &rows {
        let mut cells = Cells::new(row, "workloads");
        let seen = SeenRow {
            workload: cells.take()?,
            application: cells.take()?,
            environment: cells.take()?,
            body: cells.take()?,
        };
        held.insert(seen.workload.clone(), seen);
    }
    for seen in &report.workloads {
        if held.remove(&seen.workload).as_ref() == Some(seen) {
            continue;
        }
        let put = Statement::new(
            "INSERT INTO workloads (workload, host, application, environment, body) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workload, host) DO UPDATE SET \
             application = excluded.application, environment = excluded.environment, body = excluded.body",
        );
        let put = put.text(&seen.workload).text(&report.host);
        link.execute(put.text(&seen.application).text(&seen.environment).text(&seen.body)).await?;
    }
    for gone in held.into_keys() {
        let delete = Statement::new("DELETE FROM workloads WHERE host = $1 AND workload = $2");
        link.execute(delete.text(&report.host).text(&gone)).await?;
    }
    Ok(())
}

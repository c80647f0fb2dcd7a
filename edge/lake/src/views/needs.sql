SELECT
    time, last, account, region, service, operation, outcome, error, count,
    split_part(workload, '/', 1) AS application,
    split_part(workload, '/', 2) AS environment,
    workload, role, access_key, signer, trust, access, plane, basis,
    need['action'] AS action,
    need['resource'] AS resource,
    event_id
FROM (
    SELECT
        c.time_dt AS time,
        arrow_cast(coalesce(c.end_time, c.time) * 1000, 'Timestamp(Microsecond, Some("UTC"))') AS last,
        c.account AS account,
        c.region AS region,
        c.api['service']['name'] AS service,
        c.api['operation'] AS operation,
        c.status_code AS outcome,
        c.api['response']['error'] AS error,
        c.count AS count,
        c.src_endpoint['uid'] AS workload,
        c.actor['user']['uid'] AS role,
        c.actor['user']['credential_uid'] AS access_key,
        c.unmapped['signer'] AS signer,
        c.unmapped['trust'] AS trust,
        c.unmapped['access'] AS access,
        c.unmapped['plane'] AS plane,
        c.unmapped['basis'] AS basis,
        c.metadata['uid'] AS event_id,
        unnest(needs(c.resources)) AS need
    FROM ocsf_calls c
)

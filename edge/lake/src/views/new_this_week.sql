SELECT
    role, account, action, resource,
    min(time) AS first,
    max(last) AS last,
    sum(count) AS count,
    sum(CASE WHEN outcome = 'denied' THEN count ELSE 0 END) AS denied,
    (SELECT min(time_dt) FROM ocsf_calls) AS history_from
FROM needs
GROUP BY role, account, action, resource
HAVING min(time) >= {now} - INTERVAL '7 days'

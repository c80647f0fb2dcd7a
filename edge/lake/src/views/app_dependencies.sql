SELECT
    n.application, n.environment,
    n.service, n.resource, n.resource_account,
    o.owners,
    n.count, n.denied, n.first, n.last
FROM (
    SELECT
        application, environment, service, resource,
        nullif(split_part(resource, ':', 5), '') AS resource_account,
        sum(count) AS count,
        sum(CASE WHEN outcome = 'denied' THEN count ELSE 0 END) AS denied,
        min(time) AS first,
        max(last) AS last
    FROM needs
    WHERE resource IS NULL OR resource <> '*'
    GROUP BY application, environment, service, resource
) n
LEFT JOIN (
    SELECT account, array_agg(DISTINCT application ORDER BY application) AS owners
    FROM leases
    GROUP BY account
) o ON o.account = n.resource_account

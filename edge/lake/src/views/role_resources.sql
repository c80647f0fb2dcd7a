SELECT
    role, account, application, environment, signer, resource,
    array_agg(DISTINCT action ORDER BY action) FILTER (WHERE action IS NOT NULL) AS actions,
    sum(count) AS count,
    sum(CASE WHEN outcome = 'denied' THEN count ELSE 0 END) AS denied,
    min(time) AS first,
    max(last) AS last
FROM needs
GROUP BY role, account, application, environment, signer, resource

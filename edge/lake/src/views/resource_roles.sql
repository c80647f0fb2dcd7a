SELECT
    resource, role,
    CASE WHEN role IS NULL THEN access_key END AS access_key,
    account, application, environment, signer,
    array_agg(DISTINCT action ORDER BY action) FILTER (WHERE action IS NOT NULL) AS actions,
    sum(count) AS count,
    sum(CASE WHEN outcome = 'denied' THEN count ELSE 0 END) AS denied,
    min(time) AS first,
    max(last) AS last
FROM needs
GROUP BY resource, role, CASE WHEN role IS NULL THEN access_key END, account, application, environment, signer

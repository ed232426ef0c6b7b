-- All that is kept of a job. ARGV: tenant, id.

if redis.call('HGET', job_key(ARGV[2]), 'tenant') ~= ARGV[1] then return { 'none' } end
return { 'ok', redis.call('HGETALL', job_key(ARGV[2])) }

-- Ends a job that waits, or says that a running one is to end. ARGV: tenant, id, cause.

local j = load(ARGV[2])
if not j or j.tenant ~= ARGV[1] then return { 'none' } end
if j.state == 'delayed' or j.state == 'queued' then
  finish(j, S[ARGV[3]])
elseif j.state == 'running' and not j.ending then
  redis.call('HSET', job_key(j.id), 'ending', ARGV[3])
  orders[1] = j.id
end
return answer({ 'ok', redis.call('HGETALL', job_key(j.id)) })

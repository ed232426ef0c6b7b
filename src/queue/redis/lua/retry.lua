-- Lets a job that has ended badly run again. ARGV: tenant, id.

local j = load(ARGV[2])
if not j or j.tenant ~= ARGV[1] then return { 'none' } end
if j.state == 'delayed' or j.state == 'queued' or j.state == 'running' or j.state == 'succeeded' then
  return { 'invalid', j.state }
end
exit(j)
redis.call('HDEL', job_key(j.id), 'started', 'finished', 'ending', 'outcome', 'brief', 'done')
redis.call('PERSIST', job_key(j.id))
redis.call('PERSIST', P .. 'events:' .. j.id)
j.attempts = 0
append(j)
told(j.id, 'queued', now, '{"again":true}')
return answer({ 'ok', redis.call('HGETALL', job_key(j.id)) })

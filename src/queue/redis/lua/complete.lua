-- Ends a job. ARGV: id, worker, delivery, state, outcome, the outcome in brief, what is told of it.

local id, worker, delivery, state, outcome, brief, result = unpack(ARGV)
-- Told twice: an answer was lost on its way.
local done, stands = unpack(redis.call('HMGET', job_key(id), 'done', 'state'))
if done == delivery and stands ~= 'queued' and stands ~= 'running' then return { 'ok' } end
local j = owned(id, worker, delivery)
if not j then return { 'lost' } end
redis.call('HSET', job_key(id), 'done', delivery)
finish(j, { state = state, outcome = outcome, brief = brief, result = result })
return answer({ 'ok' })

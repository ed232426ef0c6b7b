-- Accepts a job, unless its idempotency key is known or too many wait.
-- ARGV: id, tenant, priority, the job as JSON, the same without its texts, attempts at most, not before ('' for now),
-- idempotency key ('' for none), fingerprint.

local id, tenant, priority, whole, head, max, due, name, print = unpack(ARGV)
local key = P .. 'key:' .. tenant .. ':' .. name
if name ~= '' then
  local known, its = string.match(redis.call('GET', key) or '', '^(%S+) (.*)$')
  if known and redis.call('EXISTS', job_key(known)) == 1 then
    return { its == print and 'existed' or 'conflict', known }
  end
end
local function waiting(whose) return counted('queued', whose) + counted('delayed', whose) end
if waiting(tenant) >= S.waiting_per_tenant or waiting(nil) >= S.waiting then return { 'full' } end
if due ~= '' and tonumber(due) <= now then due = '' end

local j = { id = id, tenant = tenant, priority = priority, attempts = 0, created = now, due = tonumber(due) or 0 }
redis.call('HSET', job_key(id), 'tenant', tenant, 'priority', priority, 'new', whole, 'head', head, 'max', max,
  'state', 'delayed', 'attempts', 0, 'created', now)
redis.call('ZADD', P .. 'all:' .. tenant, 0, id)
if name ~= '' then
  redis.call('HSET', job_key(id), 'key', name)
  redis.call('SET', key, id .. ' ' .. print, 'PX', S.remember)
end
if due ~= '' then
  redis.call('HSET', job_key(id), 'due', due)
  redis.call('ZADD', P .. 'delayed', due, id)
  count('delayed', tenant, 1)
else
  append(j)
end
told(id, 'queued', now, '{}')
return answer({ 'ok' })

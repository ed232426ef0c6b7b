-- Takes the next job for a worker. ARGV: the worker.

local worker = ARGV[1]
tend()

local function take(j)
  local s = stream(j)
  -- What was handed back is older than what was never delivered.
  local back = redis.call('XPENDING', s, GROUP, '-', '+', 1, NOBODY)
  if back[1] then
    return redis.call('XCLAIM', s, GROUP, worker, 0, back[1][1])[1]
  end
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', s, '>')
  return read and read[1] and read[1][2][1]
end

local function next_of(priority)
  local turns = P .. 'turns:' .. priority
  for _ = 1, redis.call('ZCARD', turns) do
    local tenant = redis.call('ZRANGE', turns, 0, 0)[1]
    redis.call('ZADD', turns, redis.call('HINCRBY', COUNTS, 'turn', 1), tenant)
    if counted('running', tenant) < S.running_per_tenant then
      local s = { priority = priority, tenant = tenant }
      local entry = redis.call('EXISTS', stream(s)) == 1 and take(s)
      if entry then return entry[2][2], stream(s) end
      -- All that is left runs.
      redis.call('ZREM', turns, tenant)
    end
  end
end

for _, priority in ipairs({ 'high', 'normal', 'low' }) do
  local id, s = next_of(priority)
  if id then
    local j = load(id)
    exit(j)
    local delivery = redis.call('HINCRBY', COUNTS, 'deliveries', 1)
    j.attempts = j.attempts + 1
    redis.call('HSET', job_key(id), 'state', 'running', 'attempts', j.attempts, 'started', now, 'worker', worker,
      'delivery', delivery)
    redis.call('ZADD', P .. 'leases', now + S.lease, id)
    redis.call('SADD', P .. 'consumers:' .. worker, s)
    count('running', j.tenant, 1)
    told(id, 'started', now, '{"worker":' .. cjson.encode(worker) .. ',"attempt":' .. j.attempts .. '}')
    return answer({ 'ok', id, tostring(delivery), redis.call('HGETALL', job_key(id)) })
  end
end
return answer({ 'empty' })

-- Takes the next job for a worker. ARGV: the worker.

local worker = ARGV[1]
tend()

-- The next job of a stream, or nothing where all that is left runs.
local function take(j)
  local s = stream(j)
  while redis.call('EXISTS', s) == 1 do
    local entry
    -- What was handed back is older than what was never delivered.
    local back = redis.call('XPENDING', s, GROUP, '-', '+', 1, NOBODY)
    if back[1] then
      entry = redis.call('XCLAIM', s, GROUP, worker, 0, back[1][1])[1]
    else
      local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', s, '>')
      entry = read and read[1] and read[1][2][1]
    end
    if not entry then return nil end
    local taken = load(entry[2][2])
    if taken then return taken, s end
    -- Somebody has removed the job by hand.
    drop(s, entry[1])
  end
end

local function next_of(priority)
  local turns = P .. 'turns:' .. priority
  for _ = 1, redis.call('ZCARD', turns) do
    local tenant = redis.call('ZRANGE', turns, 0, 0)[1]
    if counted('running', tenant) < S.running_per_tenant then
      redis.call('ZADD', turns, redis.call('HINCRBY', COUNTS, 'turn', 1), tenant)
      local j, s = take({ priority = priority, tenant = tenant })
      if j then return j, s end
    end
    -- All that is left runs, or as many run as may: it has a turn again when one of them runs no more.
    redis.call('ZREM', turns, tenant)
  end
end

for _, priority in ipairs({ 'high', 'normal', 'low' }) do
  local j, s = next_of(priority)
  if j then
    local id = j.id
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

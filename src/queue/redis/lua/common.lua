-- What the scripts share: names of keys, counts, events, and the ways from one state of a job to the next. Does nothing by
-- itself. Before it stands `S`, the settings and texts of the queue; KEYS[1] is the feed, whose tag leads to the right node.

local P = string.sub(KEYS[1], 1, -5)
local GROUP = 'workers'
-- The consumer that has what was handed back. An entry keeps its place in the stream with it.
local NOBODY = '-'
local COUNTS = P .. 'counts'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- What the change means for those who listen; told in one entry of the feed, by `answer`.
local news, heard, orders, work = {}, {}, {}, 0

local function job_key(id) return P .. 'job:' .. id end
local function stream(j) return P .. 'jobs:' .. j.priority .. ':' .. j.tenant end

local function rung(id)
  if not heard[id] then
    heard[id] = true
    news[#news + 1] = id
  end
end

-- Ends each script that has changed something. The numbers of the feed have no gaps, so that readers see what they missed.
local function answer(reply)
  if #news > 0 or #orders > 0 or work > 0 then
    local number = redis.call('HINCRBY', COUNTS, 'feed', 1)
    local fields = { 'news', table.concat(news, ' '), 'orders', table.concat(orders, ' '), 'work', work }
    local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', 10000, number .. '-0', unpack(fields))
    if type(added) == 'table' and added.err then
      -- Somebody has removed the counts: readers find the feed begun anew.
      redis.call('DEL', KEYS[1])
      redis.call('XADD', KEYS[1], number .. '-0', unpack(fields))
    end
  end
  return reply
end

local function load(id)
  local v = redis.call('HMGET', job_key(id), 'tenant', 'priority', 'state', 'entry', 'attempts', 'max', 'ending', 'worker',
    'delivery', 'created', 'due')
  if not v[1] then return nil end
  return { id = id, tenant = v[1], priority = v[2], state = v[3], entry = v[4], attempts = tonumber(v[5]),
    max = tonumber(v[6]), ending = v[7], worker = v[8], delivery = v[9], created = tonumber(v[10]),
    due = tonumber(v[11] or 0) }
end

-- The job of a ticket, if that is valid still: the delivery, and who has the entry in the group.
local function owned(id, worker, delivery)
  local j = load(id)
  if not j or j.state ~= 'running' or j.delivery ~= delivery or j.worker ~= worker then return nil end
  if #redis.call('XPENDING', stream(j), GROUP, j.entry, j.entry, 1, worker) == 0 then return nil end
  return j
end

local function count(what, tenant, number)
  redis.call('HINCRBY', COUNTS, what, number)
  local field = what .. '/' .. tenant
  if redis.call('HINCRBY', COUNTS, field, number) <= 0 then redis.call('HDEL', COUNTS, field) end
end

local function counted(what, tenant)
  return tonumber(redis.call('HGET', COUNTS, tenant and (what .. '/' .. tenant) or what) or 0)
end

local function told(id, kind, at, data)
  local key, job = P .. 'events:' .. id, job_key(id)
  local event = at .. ' ' .. kind .. ' ' .. data
  local kept = redis.call('RPUSH', key, event)
  redis.call('HINCRBY', job, 'told', 1)
  local bytes = redis.call('HINCRBY', job, 'bytes', #event + 40)
  -- The last one is always kept: it may be the result.
  while kept > 1 and (kept > S.events or bytes > S.event_bytes) do
    bytes = redis.call('HINCRBY', job, 'bytes', -(#redis.call('LPOP', key) + 40))
    kept = kept - 1
  end
  rung(id)
end

-- A tenant with jobs that could run has a turn; a new one is the last.
local function turn(j)
  local turns = P .. 'turns:' .. j.priority
  if not redis.call('ZSCORE', turns, j.tenant) then
    redis.call('ZADD', turns, redis.call('HINCRBY', COUNTS, 'turn', 1), j.tenant)
  end
end

-- Removes an entry from its stream. Returns whether it was the last one.
local function drop(s, entry)
  redis.call('XACK', s, GROUP, entry)
  redis.call('XDEL', s, entry)
  return redis.call('XLEN', s) == 0 and redis.call('DEL', s) == 1
end

-- Takes a job out of where its state has put it, but for the entry in its stream.
local function exit(j)
  if j.state == 'delayed' then
    redis.call('ZREM', P .. 'delayed', j.id)
  elseif j.state == 'queued' then
    redis.call('ZREM', P .. 'queued', j.id)
    redis.call('ZREM', P .. 'queued:' .. j.tenant, j.id)
  elseif j.state == 'running' then
    redis.call('ZREM', P .. 'leases', j.id)
    -- Its tenant may have had as many in flight as it may, and no turn therefore.
    for _, priority in ipairs({ 'high', 'normal', 'low' }) do
      local other = { tenant = j.tenant, priority = priority }
      if redis.call('EXISTS', stream(other)) == 1 then turn(other) end
    end
  else
    redis.call('ZREM', P .. 'ended', j.tenant .. '/' .. j.id)
    redis.call('ZREM', P .. 'ended:' .. j.tenant, j.id)
  end
  if j.state == 'delayed' or j.state == 'queued' or j.state == 'running' or j.state == 'dead' then
    count(j.state, j.tenant, -1)
  end
end

-- Lets a job wait whose entry is in its stream.
local function wait(j)
  j.state = 'queued'
  redis.call('HSET', job_key(j.id), 'state', 'queued', 'attempts', j.attempts, 'entry', j.entry)
  redis.call('HDEL', job_key(j.id), 'delivery')
  local since = math.max(j.created, j.due)
  redis.call('ZADD', P .. 'queued', since, j.id)
  redis.call('ZADD', P .. 'queued:' .. j.tenant, since, j.id)
  count('queued', j.tenant, 1)
  turn(j)
  work = work + 1
end

-- The same at the end of the stream.
local function append(j)
  local s = stream(j)
  if redis.call('EXISTS', s) == 0 then redis.call('XGROUP', 'CREATE', s, GROUP, '0', 'MKSTREAM') end
  j.entry = redis.call('XADD', s, '*', 'job', j.id)
  wait(j)
end

local function forget(tenant, id)
  local j = load(id)
  if j then exit(j) end
  local key = redis.call('HGET', job_key(id), 'key')
  if key then
    key = P .. 'key:' .. tenant .. ':' .. key
    local known = redis.call('GET', key)
    if known and string.sub(known, 1, #id) == id then redis.call('DEL', key) end
  end
  redis.call('DEL', job_key(id), P .. 'events:' .. id)
  redis.call('ZREM', P .. 'all:' .. tenant, id)
  redis.call('ZREM', P .. 'ended', tenant .. '/' .. id)
  redis.call('ZREM', P .. 'ended:' .. tenant, id)
  rung(id)
end

-- `how`: the state, the outcome, the outcome in brief, and what is told of it.
local function finish(j, how)
  exit(j)
  local job, ended = job_key(j.id), P .. 'ended:' .. j.tenant
  if j.entry and drop(stream(j), j.entry) then redis.call('ZREM', P .. 'turns:' .. j.priority, j.tenant) end
  redis.call('HSET', job, 'state', how.state, 'finished', now, 'outcome', how.outcome, 'brief', how.brief)
  redis.call('HDEL', job, 'entry', 'delivery')
  told(j.id, 'result', now, how.result)
  redis.call('ZADD', ended, now, j.id)
  if how.state == 'dead' then
    -- Dead letters are there to be looked at.
    count('dead', j.tenant, 1)
  else
    redis.call('ZADD', P .. 'ended', now, j.tenant .. '/' .. j.id)
    -- `tend` forgets it, with all that leads to it. Later than that, in case that nobody tends the queue any more.
    redis.call('PEXPIRE', job, S.keep + 60000)
    redis.call('PEXPIRE', P .. 'events:' .. j.id, S.keep + 60000)
  end
  -- The oldest make room for the newest.
  while redis.call('ZCARD', ended) > S.kept_per_tenant do
    forget(j.tenant, redis.call('ZRANGE', ended, 0, 0)[1])
  end
  -- One of its tenant may run now that there is one less.
  work = work + 1
end

-- Puts a running job back, at its old place: its entry is nobody's, and the next to be taken.
local function put_back(j)
  if j.ending then return finish(j, S[j.ending]) end
  exit(j)
  redis.call('XCLAIM', stream(j), GROUP, NOBODY, 0, j.entry, 'RETRYCOUNT', j.attempts, 'JUSTID')
  wait(j)
  told(j.id, 'queued', now, '{"again":true}')
end

local function given_up(j)
  local worker = string.sub(cjson.encode(j.worker or 'its worker'), 2, -2)
  local function filled(text)
    text = string.gsub(text, '<attempts>', tostring(j.attempts))
    return (string.gsub(text, '<worker>', function() return worker end))
  end
  local how = { state = 'dead' }
  for _, part in ipairs({ 'outcome', 'brief', 'result' }) do how[part] = filled(S.dead[part]) end
  return how
end

-- The lease of a job has ended.
local function lose(j)
  if j.attempts >= j.max and not j.ending then return finish(j, given_up(j)) end
  if not j.ending then redis.call('HINCRBY', COUNTS, 'redelivered', 1) end
  put_back(j)
end

-- Does what is due, within bounds. Returns whether there may be more.
local function tend()
  local most, more = 100, false
  local function due(key, by, act)
    local found = redis.call('ZRANGEBYSCORE', key, '-inf', by, 'LIMIT', 0, most)
    more = more or #found == most
    for _, id in ipairs(found) do act(id) end
  end
  due(P .. 'delayed', now, function(id)
    local j = load(id)
    if not j then return redis.call('ZREM', P .. 'delayed', id) end
    exit(j)
    append(j)
  end)
  due(P .. 'leases', now, function(id)
    local j = load(id)
    if not j then return redis.call('ZREM', P .. 'leases', id) end
    lose(j)
  end)
  due(P .. 'ended', now - S.keep, function(name)
    local tenant, id = string.match(name, '^([^/]*)/(.*)$')
    forget(tenant, id)
  end)
  return more
end

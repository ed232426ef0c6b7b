-- Does what is due. Returns whether there may be more, and when the next job is due, in milliseconds from now ('' for never).

local more = tend()
-- Workers that say nothing any more.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'seen', '-inf', now - S.worker_gone)) do
  redis.call('ZREM', P .. 'seen', name)
  redis.call('HDEL', P .. 'workers', name)
  redis.call('SADD', P .. 'gone', name)
end
-- Consumers of workers that are gone, once nothing is theirs.
for _, name in ipairs(redis.call('SRANDMEMBER', P .. 'gone', 10)) do
  local consumers, left = P .. 'consumers:' .. name, 0
  for _, s in ipairs(redis.call('SMEMBERS', consumers)) do
    if redis.call('EXISTS', s) == 1 then
      if #redis.call('XPENDING', s, GROUP, '-', '+', 1, name) == 0 then
        redis.call('XGROUP', 'DELCONSUMER', s, GROUP, name)
      else
        left = left + 1
      end
    end
  end
  if left == 0 then
    redis.call('DEL', consumers)
    redis.call('SREM', P .. 'gone', name)
  end
end
local first = redis.call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')
return answer({ 'ok', more and '1' or '0', first[2] and string.format('%.0f', math.max(0, tonumber(first[2]) - now)) or '' })

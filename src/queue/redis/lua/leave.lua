-- A worker has stopped. ARGV: name.

redis.call('HDEL', P .. 'workers', ARGV[1])
redis.call('ZREM', P .. 'seen', ARGV[1])
redis.call('SADD', P .. 'gone', ARGV[1])
return { 'ok' }

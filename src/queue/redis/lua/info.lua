-- What the server says of its memory and its files.

return { 'ok', redis.call('INFO', 'memory'), redis.call('INFO', 'persistence') }

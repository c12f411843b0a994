-- A node has something to say to the nodes of these players. KEYS: the players'. ARGV: the node, what it says, the players.
local groups = {}
for index, key in ipairs(KEYS) do
  local at = redis.call('GET', key)
  if at and at ~= ARGV[1] and life(ARGV[1], at) < GONE then
    groups[at] = (groups[at] or '') .. ARGV[index + 2]
  end
end
for node, players in pairs(groups) do
  local box = 'bt:post:' .. node
  redis.call('XADD', box, 'MAXLEN', '~', POSTS, '*', 'from', ARGV[1], 'to', players, 'body', ARGV[2])
  redis.call('PEXPIRE', box, LEASE + RESERVED)
end
return { 'done' }

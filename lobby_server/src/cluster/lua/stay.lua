-- Players are still at this node. KEYS: the players'. ARGV: the node.
for _, key in ipairs(KEYS) do
  local at = redis.call('GET', key)
  if not at or at == ARGV[1] or life(ARGV[1], at) >= GONE then
    redis.call('SET', key, ARGV[1], 'PX', LIFE)
  end
end
return { 'done' }

-- What others had to say to this node. ARGV: the node, the last post that it has read, and how many it takes.
local box, posts = 'bt:post:' .. ARGV[1], {}
redis.call('XTRIM', box, 'MINID', ARGV[2])
for _, entry in ipairs(redis.call('XRANGE', box, '(' .. ARGV[2], '+', 'COUNT', ARGV[3])) do
  local values = entry[2]
  table.insert(posts, { entry[1], values[2], values[4], values[6] })
end
return posts

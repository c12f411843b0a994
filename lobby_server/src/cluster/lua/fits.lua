-- ARGV: a node, the fingerprint of its key, the version of its wire. Nothing is written.
local _, _, misfit = look_around(ARGV[1], ARGV[2], ARGV[3])
return misfit or { 'fits' }

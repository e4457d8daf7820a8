#!/bin/sh
if [ "$HOSTNAME" = redis-0 ]; then
  exec redis-server
else
  exec redis-server --slaveof redis-0.redis 6379
fi

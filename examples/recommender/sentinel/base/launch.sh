#!/bin/sh
# Sentinel writes into its own configuration, so it gets a copy. It begins when the master has a name.
until nslookup redis-0.redis > /dev/null 2>&1; do sleep 2; done
cp /etc/sentinel/sentinel.conf /tmp/sentinel.conf
exec redis-server /tmp/sentinel.conf --sentinel

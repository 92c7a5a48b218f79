import { dns } from './dns.ts';
import { iperf3, iperf3Udp } from './iperf3.ts';
import { mariadb } from './mariadb.ts';
import { nginx } from './nginx.ts';
import { postgresql } from './postgresql.ts';
import { redis } from './redis.ts';
import type { ServerCase } from './server-case.ts';
import { smtp } from './smtp.ts';
import { socat } from './socat.ts';

export const servers: readonly ServerCase[] = [nginx, postgresql, redis, mariadb, smtp, socat, dns, iperf3, iperf3Udp];

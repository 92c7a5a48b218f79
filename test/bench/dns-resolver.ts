/** The resolver of the benchmark `dns`: a cluster of so many Services, and one upstream. Says its port to its parent. */
import { silentLogger } from '../../src/platform/log.ts';
import { createResolver, createUpstream, createZone, RecordIndex, startDnsServer } from '../../src/simulator/dns/index.ts';

const [upstreamPort = 0, services = 0] = process.argv.slice(2).map(Number);
const records = new RecordIndex();
for (let index = 0; index < services; index += 1) {
  records.setService({
    namespace: 'bench',
    name: `service-${index}`,
    type: 'ClusterIP',
    clusterIPs: [`10.96.${index >> 8}.${index & 255}`],
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
    publishNotReadyAddresses: false,
  });
}
const upstream = createUpstream({ servers: () => [{ address: '127.0.0.1', port: upstreamPort }] });
const resolve = createResolver({ zone: createZone({ records }), records, upstream, namespace: 'bench', log: silentLogger });
const any = { address: '127.0.0.1', port: 0 };
const server = await startDnsServer({ udp: [any], tcp: [], resolve, log: silentLogger });
process.send?.({ port: server.udp[0]?.port });
process.on('disconnect', () => process.exit());

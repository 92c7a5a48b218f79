// The example applications, without dependencies: one program, its first argument says which part it plays.
//
//   main.js server PORT                      HTTP: /status, /dependency/status, /echo
//   main.js dependency PORT                  HTTP: /status
//   main.js client PORT                      HTTP: /call?url=…, /watch?url=…&every=MS&count=N: makes the calls from where it runs
//   main.js get URL                          prints status and body of one call
//   main.js chat NAME --listen PORT [--dial HOST:PORT --trigger PORT]
//   main.js chat NAME --dial HOST:PORT [--they-close-first]
//   main.js grpc PORT                        gRPC: the standard health service, always SERVING
//   main.js udp PORT                         UDP: sends back what comes, with its name
//   main.js udp-ask HOST PORT [SIZE [COUNT]] UDP: asks that server, prints who answered how many datagrams
import { chatCommand } from './chat.js';
import { serveGrpc } from './grpc.js';
import { getCommand, serveClient, serveDependency, serveServer } from './http.js';
import { serveUdp, udpCommand } from './udp.js';

const [part, ...rest] = process.argv.slice(2);
const parts = {
  server: () => serveServer(Number(rest[0])),
  dependency: () => serveDependency(Number(rest[0])),
  client: () => serveClient(Number(rest[0])),
  get: () => getCommand(rest[0]),
  chat: () => chatCommand(rest),
  grpc: () => serveGrpc(Number(rest[0])),
  udp: () => serveUdp(Number(rest[0])),
  'udp-ask': () => udpCommand(rest),
};
const play = parts[part];
if (play === undefined) {
  process.stderr.write(`usage: main.js ${Object.keys(parts).join('|')} …\n`);
  process.exit(2);
}
process.on('SIGTERM', () => process.exit(0));
await play();

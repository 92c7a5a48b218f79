// A gRPC server with the standard health service and nothing else, without dependencies (grpc.health.v1, HTTP/2 in cleartext).
import { createServer } from 'node:http2';

// HealthCheckResponse { status = 1: SERVING }, behind gRPC's prefix (not compressed, two bytes)
const serving = Buffer.from([0, 0, 0, 0, 2, 0x08, 0x01]);

export function serveGrpc(port) {
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const known = headers[':path'] === '/grpc.health.v1.Health/Check';
    stream.on('error', () => {});
    stream.resume();
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      // 12: UNIMPLEMENTED
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': known ? '0' : '12' }));
      stream.end(known ? serving : undefined);
    });
  });
  server.on('sessionError', () => {});
  server.listen(port, () => process.stdout.write(`grpc listens on ${server.address().port}\n`));
}

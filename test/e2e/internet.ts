/** The web server of "the internet" (laptop.ts): answers with the address of who called. */
import { createServer } from 'node:http';

createServer((request, response) => {
  const caller = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  response.end(`caller ${caller}\n`);
}).listen(80, '::');

import { overTransport } from '../../unit/tunnel/pair.ts';
import { portForwardPair } from './tunnel-over.ts';

// The tunnel's own tests, over a port-forward instead of a TCP connection.
overTransport(portForwardPair('websocket'));
await import('../../unit/tunnel/session.test.ts');
await import('../../unit/tunnel/flow.test.ts');
await import('../../unit/tunnel/receive-window.test.ts');
await import('../../unit/tunnel/associations.test.ts');

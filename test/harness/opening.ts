import type { OpenRequest, OpeningStream, TunnelStream } from '../../src/tunnel/types.ts';

/** `beginOpen` of a session whose far end takes no early data, by what answers. */
export function opening<Options>(
  open: (request: OpenRequest, options?: Options) => Promise<TunnelStream>,
): (request: OpenRequest, options?: Options) => OpeningStream {
  return (request, options) => ({
    earlyRoom: 0,
    sendEarly: () => {
      throw new Error('this far end takes no early data');
    },
    answer: open(request, options),
  });
}

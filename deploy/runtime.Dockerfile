# What every service stands on: Node and the npm packages that it needs at run time.
# Built by deploy/images.sh, which makes the base and the context.
ARG BASE
FROM ${BASE}
SHELL ["/bin/bash", "-c"]
RUN echo 'root:x:0:0::/:/usr/sbin/nologin' >/etc/passwd && echo 'root:x:0:' >/etc/group \
  && echo 'stillpoint:x:10001:10001::/data:/usr/sbin/nologin' >>/etc/passwd && echo 'stillpoint:x:10001:' >>/etc/group \
  && chmod 1777 /tmp && install -d -o 10001 -g 10001 -m 700 /data /var/cache/stillpoint
COPY node /usr/local/bin/node
COPY node_modules /opt/stillpoint/node_modules
ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin NODE_ENV=production

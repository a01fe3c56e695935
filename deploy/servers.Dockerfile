# The servers that the control plane stands on, from Debian packages; their configuration is mounted.
# Built by deploy/images.sh, which makes the roots and the context.
ARG BASE
ARG SERVERS

FROM ${BASE} AS nats
SHELL ["/bin/bash", "-c"]
RUN echo 'stillpoint:x:10001:10001::/data:/usr/sbin/nologin' >/etc/passwd && install -d -o 10001 -g 10001 -m 700 /data
COPY nats-server /usr/local/bin/nats-server
COPY deploy/image /opt/stillpoint/image
ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin
USER 10001:10001
VOLUME /data
ENTRYPOINT ["nats-server"]
CMD ["--config", "/etc/stillpoint/nats.conf"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/opt/stillpoint/image/health", "8222", "/healthz"]

FROM ${SERVERS} AS redis
SHELL ["/bin/bash", "-c"]
RUN echo 'stillpoint:x:10001:10001::/data:/usr/sbin/nologin' >/etc/passwd && install -d -o 10001 -g 10001 -m 700 /data
ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin
COPY deploy/redis/start deploy/redis/health /opt/stillpoint/
USER 10001:10001
VOLUME /data
WORKDIR /data
ENTRYPOINT ["/opt/stillpoint/start"]
CMD ["redis"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/opt/stillpoint/health", "6379"]

FROM ${SERVERS} AS nginx
SHELL ["/bin/bash", "-c"]
RUN echo 'stillpoint:x:10001:10001::/data:/usr/sbin/nologin' >/etc/passwd && chmod 1777 /tmp
COPY deploy/image /opt/stillpoint/image
COPY deploy/nginx/start /opt/stillpoint/start
ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin
USER 10001:10001
ENTRYPOINT ["/opt/stillpoint/start"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/opt/stillpoint/image/health", "7090", "/health"]

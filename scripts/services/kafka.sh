# shellcheck shell=bash
# Apache Kafka 4, one node, KRaft, from Maven Central. Sourced by scripts/services.sh.

KAFKA_VERSION=4.1.0
# Any id will do; it is kept so that a data folder made anew is still the same cluster.
KAFKA_CLUSTER_ID=bWV0cmljc2QtdGVzdHMtMQ

KAFKA_HOME="$KAFKA_DIR${KAFKA_CLUSTER:+/cluster-}$KAFKA_CLUSTER"

kafka_pid_file() { echo "$RUN_DIR/kafka${KAFKA_CLUSTER:+-}$KAFKA_CLUSTER.pid"; }
kafka_mark() { echo "kafka.Kafka $KAFKA_HOME/server.properties"; }
kafka_log() { echo "$LOG_DIR/kafka${KAFKA_CLUSTER:+-}$KAFKA_CLUSTER.log"; }
kafka_stop_signal() { echo TERM; }

# Asks for the cluster's metadata in Kafka's own protocol (Metadata, version 1, no topics) and counts the brokers:
# there is one as soon as the controller has admitted it, which is later than the opening of its port.
kafka_healthy() {
  local answer
  # shellcheck disable=SC2016
  answer="$(timeout 3 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    #        length 14      Metadata v1     request id 7    no client id no topics
    printf "\0\0\0\016" >&3; printf "\0\003\0\001\0\0\0\007\377\377\0\0\0\0" >&3
    head -c 12 <&3 | od -An -v -tx1 | tr -d " \n"' "$KAFKA_PORT")"
  [[ "${answer:8:8}" == 00000007 && "${answer:16:8}" == 00000001 ]]
}

kafka_java() {
  local java
  for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    if [[ -n "$java" && -x "$java" ]] && "$java" -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])'; then
      echo "$java"
      return
    fi
  done
  return 1
}

kafka_install() {
  kafka_java >/dev/null || apt_install default-jre-headless
  kafka_java >/dev/null || apt_install openjdk-17-jre-headless
  if [[ -f "$KAFKA_DIR/libs-$KAFKA_VERSION/.complete" ]]; then return; fi
  command -v mvn >/dev/null || apt_install maven
  say "kafka: fetching Apache Kafka $KAFKA_VERSION with Maven (once; 45 MB)"
  local libs="$KAFKA_DIR/libs-$KAFKA_VERSION" log="$LOG_DIR/maven.log"
  rm -rf -- "$libs"
  mkdir -p "$libs"
  # The broker brings slf4j without a backend; log4j-slf4j-impl makes its log readable.
  cat >"$KAFKA_DIR/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>metricsd.test</groupId>
  <artifactId>kafka-libs</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
POM
  if ! mvn -B -f "$KAFKA_DIR/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$libs" </dev/null >"$log" 2>&1 9>&-; then
    show_log "$log"
    die "Maven could not fetch Apache Kafka"
  fi
  : >"$libs/.complete"
}

# Small everything: one node, few partitions in the inner topics, no waiting for more members or brokers.
kafka_configure() {
  mkdir -p "$KAFKA_HOME"
  cat >"$KAFKA_HOME/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$KAFKA_HOME/data
num.partitions=4
auto.create.topics.enable=true
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=67108864
log.index.size.max.bytes=1048576
log.retention.hours=24
log.retention.bytes=268435456
CONF
  cat >"$KAFKA_HOME/log4j2.properties" <<'CONF'
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
CONF
}

kafka_start() {
  local java log
  java="$(kafka_java)"
  log="$(kafka_log)"
  local run=("$java" -Xms128m -Xmx384m -XX:+UseSerialGC "-Dlog4j2.configurationFile=$KAFKA_HOME/log4j2.properties"
    -cp "$KAFKA_DIR/libs-$KAFKA_VERSION/*")
  kafka_configure
  if [[ ! -s "$KAFKA_HOME/data/meta.properties" ]]; then
    say "kafka: making a new data folder"
    rm -rf -- "$KAFKA_HOME/data"
    if ! "${run[@]}" kafka.tools.StorageTool format --ignore-formatted \
      --cluster-id "$KAFKA_CLUSTER_ID" --config "$KAFKA_HOME/server.properties" </dev/null >"$log" 2>&1 9>&-; then
      show_log "$log"
      die "kafka could not format its data folder"
    fi
  fi
  : >"$log" # one run a file: it is only read when something fails
  launch "$log" "${run[@]}" kafka.Kafka "$KAFKA_HOME/server.properties"
  echo "$!" >"$(kafka_pid_file)"
}

# Ends a test's own broker and removes it.
kafka_remove() {
  native_kill kafka
  rm -rf --one-file-system -- "$KAFKA_HOME" "$(kafka_log)" "$(kafka_pid_file)"
}

# Those that tests left behind because they were killed themselves.
kafka_remove_clusters() {
  local home own="$KAFKA_HOME" name="$KAFKA_CLUSTER"
  for home in "$KAFKA_DIR"/cluster-*/; do
    [[ -d "$home" ]] || continue
    KAFKA_HOME="${home%/}"
    KAFKA_CLUSTER="${KAFKA_HOME##*/cluster-}"
    kafka_remove
  done
  KAFKA_HOME="$own" KAFKA_CLUSTER="$name"
}
